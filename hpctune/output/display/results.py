"""What is new since the last look: results, and failures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from hpctune.common.text import duration
from hpctune.core.state import ExperimentState
from hpctune.model import failures
from hpctune.model.rows import AUTO_FILLED, flatten, lookup
from hpctune.model.trial import Trial
from hpctune.output.display.columns import cell


class News:
    """Finds the trials that have reported or failed since the last look. The cost grows with the active trials only."""

    def __init__(self) -> None:
        self._known = 0
        self._counts: dict[str, tuple[int, int]] = {}

    def look(self, state: ExperimentState) -> tuple[list[Trial], list[Trial]]:
        """Those that have reported, and those that have failed. At the first look: ever."""
        for trial in islice(state.trials.values(), self._known, None):
            self._counts[trial.trial_id] = (0, 0)
        self._known = len(state.trials)
        for trial_id in state.active:
            self._counts.setdefault(trial_id, (0, 0))
        reported, failed = [], []
        for trial_id, (results, troubles) in list(self._counts.items()):
            trial = state.trials[trial_id]
            now = failures.troubles(trial)
            if trial.results > results:
                reported.append(trial)
            if now > troubles:
                failed.append(trial)
            if trial.phase.final:
                del self._counts[trial_id]
            else:
                self._counts[trial_id] = (trial.results, now)
        return reported, failed


class ResultLines:
    """A line for each trial's newest result since the last look."""

    def __init__(self) -> None:
        self._news = News()

    def news(self, state: ExperimentState) -> Iterator[str]:
        """The lines."""
        yield from map(result_line, self._news.look(state)[0])


def result_line(trial: Trial) -> str:
    """``1f3a9_00004: iteration 3, accuracy=0.93, loss=0.12, after 42 s``."""
    row = flatten({k: v for k, v in trial.last.items() if k not in AUTO_FILLED})
    numbers = [f"{key}={cell(value)}" for key, value in row.items() if isinstance(value, (int, float, str))]
    took = lookup(trial.last, "time_total_s")
    after = [f"after {duration(took, exact=True)}"] if isinstance(took, (int, float)) and took == took else []
    return f"{trial.trial_id}: " + ", ".join([f"iteration {trial.last_iteration}", *numbers, *after])
