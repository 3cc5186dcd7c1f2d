"""The list of what a mirror holds. It is written last in each pass, so a reader that keeps to it sees one moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpctune.errors import StorageError

NAME = "mirror.json"
"""The file's name, in the mirror and (with what the last pass saw) in the experiment's directory."""
VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its size in bytes and its CRC-32C. ``seen``: modification time (ns) and inode of the copied file, by
    which the next pass knows that it has not changed."""

    size: int
    crc: int
    seen: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Manifest:
    """``experiment_id``: of which experiment; ``made_at``: when (Unix seconds); ``files``: by their paths in it."""

    experiment_id: str = ""
    made_at: float = 0.0
    files: dict[str, Entry] = field(default_factory=dict)

    def to_json(self) -> str:
        """As text."""
        files = {name: [entry.size, entry.crc, *entry.seen] for name, entry in self.files.items()}
        return json.dumps(
            {"version": VERSION, "experiment_id": self.experiment_id, "made_at": self.made_at, "files": files}
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read it. Raises StorageError if it is none, or a newer version's."""
        try:
            data: Mapping[str, Any] = json.loads(text)
            if data["version"] > VERSION:
                raise StorageError("The mirror was written by a newer hpctune. Upgrade: pip install --upgrade hpctune")
            files = {name: Entry(size, crc, (time, inode)) for name, (size, crc, time, inode) in data["files"].items()}
            return cls(data["experiment_id"], data["made_at"], files)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"{NAME} is damaged: {error}.") from error

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(entry.size for entry in self.files.values())
