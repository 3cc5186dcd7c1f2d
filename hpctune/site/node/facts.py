"""A node's facts about itself and about its view of the shared directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """``imported_s``: seconds for ``import hpctune``, None if it failed (``import_error``). ``leaked``: variables of
    the submitting process that a job should not have. ``locks``: as in StorageFacts, tried there while we held them.
    ``skew_s``: its clock less ours, ``skew_error_s``: how sure that is."""

    host: str
    python: str
    executable: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    imported_s: float | None = None
    import_error: str = ""
    version: str = ""
    tools: Mapping[str, bool] = field(default_factory=dict)
    leaked: Sequence[str] = ()
    visible_gpus: str | None = None
    listed_gpus: int | None = None
    cpus: int = 0
    locks: Mapping[str, str] = field(default_factory=dict)
    skew_s: float | None = None
    skew_error_s: float = 0.0
    races: int = 0
    races_twice: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NodeFacts:
        """As the node's program writes it. Raises KeyError, TypeError for anything else."""
        imported, gpus = data["hpctune"], data["gpus"]
        return cls(
            host=data["host"],
            python=data["python"],
            executable=data["executable"],
            packages=data["packages"],
            imported_s=imported.get("seconds"),
            import_error=imported.get("error", ""),
            version=imported.get("version", ""),
            tools=data["tools"],
            leaked=tuple(data["leaked"]),
            visible_gpus=gpus["visible"],
            listed_gpus=gpus["listed"],
            cpus=data["cpus"],
            locks=data["locks"],
        )
