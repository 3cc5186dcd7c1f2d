"""A line of text for each new result."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from hpctune.common.text import duration
from hpctune.core.state import ExperimentState
from hpctune.model.rows import AUTO_FILLED, flatten, lookup
from hpctune.model.trial import Trial
from hpctune.output.display.columns import cell


class ResultLines:
    """A line for each trial's newest result since the last look."""

    def __init__(self) -> None:
        self._known = 0
        self._counts: dict[str, int] = {}

    def news(self, state: ExperimentState) -> Iterator[str]:
        """The lines. The cost grows with the active trials only."""
        for trial in islice(state.trials.values(), self._known, None):
            self._counts[trial.trial_id] = 0
        self._known = len(state.trials)
        for trial_id in state.active:
            self._counts.setdefault(trial_id, 0)
        for trial_id, count in list(self._counts.items()):
            trial = state.trials[trial_id]
            if trial.results > count:
                yield result_line(trial)
            if trial.phase.final:
                del self._counts[trial_id]
            else:
                self._counts[trial_id] = trial.results


def result_line(trial: Trial) -> str:
    """``train_1f3a9_00004: iteration 3, accuracy=0.93, loss=0.12, after 42 s``."""
    row = flatten({k: v for k, v in trial.last.items() if k not in AUTO_FILLED})
    numbers = [f"{key}={cell(value)}" for key, value in row.items() if isinstance(value, (int, float, str))]
    took = lookup(trial.last, "time_total_s")
    after = [f"after {duration(took, exact=True)}"] if isinstance(took, (int, float)) and took == took else []
    return f"{trial.name}: " + ", ".join([f"iteration {trial.last_iteration}", *numbers, *after])
