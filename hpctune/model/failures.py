"""Failed trials in groups: the same failure of many trials is told once."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hpctune.model.records import ErrorInfo
from hpctune.model.trial import Phase, Trial

_ADVICE = re.compile(
    r"Set the environment variable HYDRA_FULL_ERROR|See https?://\S+( for details)?\.?$|For more information"
    r"|srun: error: .*Exited with exit code|srun: (Terminating|launch/slurm)|Try '.* --help' for help"
)
"""Lines that programs and srun print behind what went wrong."""
_VARIES = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?([eE][-+]?\d+)?")


def troubles(trial: Trial) -> int:
    """How often the trial has failed; the failure that ended it counts."""
    return trial.failures + (trial.phase is Phase.ERROR)


def words(trial: Trial) -> str:
    """What went wrong, in full."""
    return str(_error(trial) or trial.reason)


def _error(trial: Trial) -> ErrorInfo | None:
    """The error that ended it, else that of its last failure: a trial that was tried again may have gone well."""
    return trial.error if trial.error is not None or trial.phase is Phase.ERROR else trial.last_failure


def brief(trial: Trial) -> str:
    """What went wrong on one line: of a longer text the last line, which says most."""
    first, last = first_and_last(trial)
    error = _error(trial)
    kind = error.kind if error is not None else ""
    return f"{kind}: {last}" if kind and last and last != first else last or first


def first_and_last(trial: Trial) -> tuple[str, str]:
    """The first and the last line of what went wrong; equal if it is one line. Advice behind it is none of it."""
    lines = [line.strip() for line in words(trial).splitlines() if line.strip()] or [""]
    telling = [line for line in lines if not _ADVICE.match(line)] or lines
    return lines[0], telling[-1]


def grouped(trials: Iterable[Trial]) -> list[list[Trial]]:
    """The trials by failure, the largest group first. Failures that differ in numbers, or in what identifies the trial
    (its id, name and directory), are the same."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(kind(trial), []).append(trial)
    return sorted(groups.values(), key=len, reverse=True)


def kind(trial: Trial) -> str:
    """What is equal for the same failure of several trials: its text without numbers and what identifies the trial."""
    text = words(trial)
    for own in (trial.dirname, trial.name, trial.trial_id):
        text = text.replace(own, "")
    return _VARIES.sub("#", text)
