"""A searcher and a scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpctune.decisions import CONTINUE, Decision, Stop
from hpctune.schedulers import FIFOScheduler
from hpctune.search import Searcher


class HaltonSearch(Searcher):
    """The points of the van der Corput sequence in base 2 for one float parameter: 1/2, 1/4, 3/4, 1/8, ..."""

    def __init__(self, metric: str | None = None, mode: str | None = None) -> None:
        super().__init__(metric=metric, mode=mode)
        self._count = 0
        self._space: dict[str, Any] = {}

    def set_search_properties(self, metric: Any, mode: Any, config: Any, **spec: Any) -> bool:
        super().set_search_properties(metric, mode, config, **spec)
        self._space = dict(config)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self._count += 1
        digits, number = f"{self._count:b}", 0.0
        for power, digit in enumerate(reversed(digits), 1):
            number += int(digit) * 2.0**-power
        return {key: domain.lower + number * (domain.upper - domain.lower) for key, domain in self._space.items()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        return


class PatienceScheduler(FIFOScheduler):
    """Stops a trial after ``patience`` results without a better value of ``metric``."""

    def __init__(self, metric: str = "loss", patience: int = 3) -> None:
        super().__init__()
        self.metric, self.patience = metric, patience
        self._best: dict[str, tuple[float, int]] = {}

    def on_trial_result(self, trial: Any, row: Mapping[str, Any]) -> Decision:
        value = float(row[self.metric])
        best, since = self._best.get(trial.trial_id, (float("inf"), 0))
        self._best[trial.trial_id] = (value, 0) if value < best else (best, since + 1)
        waited = self._best[trial.trial_id][1]
        return Stop(f"nothing better in {waited} results") if waited >= self.patience else CONTINUE
