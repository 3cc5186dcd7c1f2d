"""What a resumed driver does with the trials of an experiment. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.trial import Phase

RESTARTING = "to be restarted from scratch"
"""The stop reason of an unfinished trial that must start from scratch. It is reopened after it has ended."""


@dataclass(frozen=True, slots=True)
class ResumeChoice:
    """What a resumed driver does with trials: "skip", "resume" or "restart" for each kind.

    ``experiment`` "skip": an experiment that was stopped or is over stays so. A driver that succeeds another in a chain
    of driver jobs uses this.
    """

    finished: str = "skip"
    unfinished: str = "resume"
    errored: str = "skip"
    experiment: str = "resume"


def reopenings(
    state: ExperimentState, choice: ResumeChoice, num_samples: int | None, total: int | None = 0
) -> Iterator[e.Event]:
    """The events that put ``choice`` into effect.

    ``num_samples``: the new number of samples; None: unchanged. ``total``: the number of trials that the searcher has
    in the end; None: unknown or without end. A search that was exhausted goes on if the space has grown. Trials that an
    error of the experiment as a whole has ended (no job could be had) go on: they could do nothing about it.
    """
    stopping = state.stopping
    broken = stopping.reason if stopping is not None and stopping.fatal else None
    wanted = num_samples if num_samples is not None else state.num_samples
    if choice.experiment == "skip":
        return
    grown = state.exhausted and total is not None and total > state.suggested
    if state.ended is not None or state.stopping is not None or wanted != state.num_samples or grown:
        yield e.ExperimentReopened(wanted)
    for trial in list(state.trials.values()):
        if trial.phase.final:
            how = choice.errored if trial.phase is Phase.ERROR else choice.finished
            if trial.phase is Phase.TERMINATED and broken is not None and trial.stop == broken:
                how = choice.unfinished
            if how in ("resume", "restart"):
                yield e.TrialReopened(trial.trial_id, restart=how == "restart")
        elif choice.unfinished == "skip":
            yield e.StopRequested(trial.trial_id, "skipped on resume")
        elif choice.unfinished == "restart":
            yield e.StopRequested(trial.trial_id, RESTARTING)
