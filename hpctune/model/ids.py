"""Names of things: trials, attempts, runs, and the tag by which a job is found again."""

from __future__ import annotations

from dataclasses import dataclass

TAG_PREFIX = "hpctune"


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """One start of one attempt of one trial: the fencing token of everything a run writes."""

    trial_id: str
    attempt: int
    restart: int

    def __str__(self) -> str:
        return f"{self.trial_id}/{self.attempt}.{self.restart}"


def trial_id(experiment_id: str, index: int) -> str:
    """The id of the trial with number ``index`` (from 0), unique over experiments: ``1f3a9_00042``."""
    return f"{experiment_id[:5]}_{index:05d}"


@dataclass(frozen=True, slots=True)
class Tag:
    """What a job carries (in Slurm: its comment), so that it is found without its id being known."""

    experiment_id: str
    trial_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{TAG_PREFIX}:{self.experiment_id}:{self.trial_id}:{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> Tag | None:
        """The tag in ``text``, or None where ``text`` is not one of ours."""
        parts = text.strip().split(":")
        if len(parts) != 4 or parts[0] != TAG_PREFIX or not parts[3].isdigit():
            return None
        return cls(parts[1], parts[2], int(parts[3]))
