"""What a driver that takes an experiment up again does with its trials. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.trial import Phase

RESTARTING = "to be restarted from scratch"
"""The reason for which an unfinished trial is stopped that is to start anew; it is reopened when it has ended."""


@dataclass(frozen=True, slots=True)
class ResumeChoice:
    """What a resumed driver does with trials: "skip", "resume" or "restart" for each kind.

    ``experiment`` "skip": one that was stopped or is over stays so. That is how a driver succeeds another.
    """

    finished: str = "skip"
    unfinished: str = "resume"
    errored: str = "skip"
    experiment: str = "resume"


def reopenings(state: ExperimentState, choice: ResumeChoice, num_samples: int | None) -> Iterator[e.Event]:
    """The facts by which ``choice`` takes effect. ``num_samples``: how many trials are wanted; None: as before."""
    wanted = num_samples if num_samples is not None else state.num_samples
    if choice.experiment == "skip":
        return
    if state.ended is not None or state.stopping is not None or wanted != state.num_samples:
        yield e.ExperimentReopened(wanted)
    for trial in list(state.trials.values()):
        if trial.phase.final:
            how = choice.errored if trial.phase is Phase.ERROR else choice.finished
            if how in ("resume", "restart"):
                yield e.TrialReopened(trial.trial_id, restart=how == "restart")
        elif choice.unfinished == "skip":
            yield e.StopRequested(trial.trial_id, "skipped on resume")
        elif choice.unfinished == "restart":
            yield e.StopRequested(trial.trial_id, RESTARTING)
