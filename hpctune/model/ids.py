"""Identifiers of trials, attempts and runs, and the tag by which a job is found again."""

from __future__ import annotations

from dataclasses import dataclass

TAG_PREFIX = "hpctune"


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """The key of one start of one attempt of one trial. It is the fencing token of everything that a run writes."""

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
    """The tag of a job (in Slurm: its comment), by which it is found if its id is not known."""

    experiment_id: str
    trial_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{TAG_PREFIX}:{self.experiment_id}:{self.trial_id}:{self.attempt}"

    @classmethod
    def parse(cls, text: str) -> Tag | None:
        """The tag in ``text``; None if ``text`` is not such a tag."""
        parts = text.strip().split(":")
        if len(parts) != 4 or parts[0] != TAG_PREFIX or not parts[3].isdigit():
            return None
        return cls(parts[1], parts[2], int(parts[3]))
