"""``SacredCommand``: an experiment of Sacred, started as SEML starts it, without a database."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpctune.common.named_state import pickled_by_name
from hpctune.errors import UsageError
from hpctune.worker.hearing import HeardCommand, interpreter

NAMED = "+"
"""The parameters whose names begin so name configurations of the experiment, or files with one."""
_SEEDS = 10**9
_CONDA = 'source "$(conda info --base)/etc/profile.d/conda.sh" && conda activate "$0" && exec python "$@"'
"""Commands for bash: activate the environment ``$0``, and be its Python."""


@pickled_by_name
@dataclass(frozen=True, slots=True)
class SacredCommand(HeardCommand):
    """``python train.py with lr=0.1``: the words of ``command`` are the script and its own options.

    What the experiment logs by ``log_scalar``, and the numbers that it returns, are results of the trial. Without a
    parameter ``seed`` each trial has a seed of its own, which stays the same when the trial begins again.

    - ``metric``: which logged or returned value makes a result; None: each step does.
    - ``conda_environment``: the environment whose Python runs it; None: the Python that is active.
    - ``search_paths``: directories from which it may import, in addition.
    """

    SITE: ClassVar[str] = str(Path(__file__).parent / "sacred_site")
    OTHER_PATHS: ClassVar[tuple[str, ...]] = ("search_paths",)
    conda_environment: str | None = None
    search_paths: Sequence[str] = ()

    def program(self, config: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
        """The program's argument list and variables. Raises UsageError for named configurations that are none."""
        python = ["bash", "-c", _CONDA, self.conda_environment] if self.conda_environment else [interpreter()]
        own = {"seed": seed_of(str(facts["trial_id"])), **without_named(config)}
        updates = [f"{name}={value!r}" for name, value in own.items()]
        words = [*python, *map(str, self.command), "with", *updates, *named_configurations(config)]
        return words, self.heard()

    def search_path(self, known: str | None) -> dict[str, str]:
        """The usual variables, with the additional directories at the begin of Python's search path."""
        places = [*self.search_paths, *([known] if known else [])]
        return HeardCommand.search_path(self, os.pathsep.join(places) or None)


def seed_of(trial_id: str) -> int:
    """A seed for a trial, in the range that Sacred draws from: from 1 to 10^9."""
    return 1 + int.from_bytes(hashlib.sha256(trial_id.encode()).digest()[:8]) % _SEEDS


def without_named(config: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that set values."""
    return {name: value for name, value in config.items() if not name.startswith(NAMED)}


def named_configurations(config: Mapping[str, Any]) -> list[str]:
    """The named configurations in their order: by priority, then by name; those without a priority are last.

    ``+data: big``, or ``+data.name: big`` with ``+data.priority: 2``. Raises UsageError, which names the parameter.
    """
    names: dict[str, str] = {}
    priorities: dict[str, int] = {}
    for parameter, value in config.items():
        if not parameter.startswith(NAMED):
            continue
        stated = value if isinstance(value, Mapping) else {parameter.partition(".")[2] or "name": value}
        key = parameter.partition(".")[0]
        for attribute, given in stated.items():
            if attribute == "name" and isinstance(given, str):
                names[key] = given
            elif attribute == "priority" and _is_whole(given):
                priorities[key] = int(given)
            else:
                raise UsageError(
                    f"{parameter} cannot be {given!r}: a named configuration has a name (text), and may have a "
                    f"priority (a whole number): {key}.name, {key}.priority."
                )
    alone = next((key for key in priorities if key not in names), None)
    if alone is not None:
        raise UsageError(f"{alone}.priority is set, and {alone}.name is not. Say which configuration is meant.")
    return [names[key] for key in sorted(names, key=lambda key: (priorities.get(key, float("inf")), names[key]))]


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
