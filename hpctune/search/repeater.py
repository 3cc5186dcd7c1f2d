"""Several trials for each suggestion, for objectives that depend on chance."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

from hpctune.common.checks import is_whole
from hpctune.errors import UsageError
from hpctune.search.searcher import Searcher, SearcherWrapper

TRIAL_INDEX = "__trial_index__"
"""The key in a trial's config that numbers the repetitions of a suggestion from 0; of use as a random seed."""


@dataclass(slots=True)
class _Group:
    """The trials of one suggestion. ``primary`` is the trial that the searcher knows it by."""

    primary: str
    config: dict[str, Any]
    started: int = 0
    ended: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)


class Repeater(SearcherWrapper):
    """Runs every suggestion of a searcher ``repeat`` times and tells the searcher the mean of its metric.

    Trials that fail, or whose metric is missing or not a number, do not count; if none counts, the suggestion has
    failed. ``num_samples`` counts trials, so make it a multiple of ``repeat``. If the number of trials is to be
    limited as well, let a ConcurrencyLimiter be the searcher *inside*; its limit then counts suggestions.

    Args:
        searcher: The searcher to ask.
        repeat: How many trials there are for each suggestion.
        set_index: Put the number of the repetition into each config, as ``config["__trial_index__"]``.

    Raises:
        UsageError: if ``repeat`` is not a positive integer.
    """

    def __init__(self, searcher: Searcher, repeat: int = 1, set_index: bool = True) -> None:
        super().__init__(searcher)
        if not is_whole(repeat) or repeat < 1:
            raise UsageError(f"repeat must be an integer of 1 or more, not {repeat!r}.")
        self.repeat = repeat
        self.set_index = set_index
        self._newest: _Group | None = None
        self._groups: dict[str, _Group] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the newest suggestion again until it has been repeated enough, then one that is new."""
        group = self._unfilled()
        if group is None:
            config = self.searcher.suggest(trial_id)
            if not isinstance(config, dict):
                return config
            group = self._newest = _Group(trial_id, config)
        config = copy.deepcopy(group.config)
        if self.set_index:
            config[TRIAL_INDEX] = group.started
        self._join(group, trial_id)
        return config

    def on_suggestion_replayed(self, trial_id: str, config: dict[str, Any]) -> None:
        group = self._unfilled()
        if group is None:
            config = {key: value for key, value in config.items() if key != TRIAL_INDEX}
            group = self._newest = _Group(trial_id, config)
            self.searcher.on_suggestion_replayed(trial_id, copy.deepcopy(config))
        self._join(group, trial_id)

    def _unfilled(self) -> _Group | None:
        return self._newest if self._newest is not None and self._newest.started < self.repeat else None

    def _join(self, group: _Group, trial_id: str) -> None:
        group.started += 1
        self._groups[trial_id] = group

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: one repetition's intermediate result says little, and the mean is not known yet."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the searcher of the suggestion's end with the last of its trials."""
        group = self._groups.pop(trial_id, None)
        if group is None:
            return
        group.ended += 1
        if result and not error:
            group.results.append(result)
        if group.ended == self.repeat:
            mean = self._mean(group.results)
            self.searcher.on_trial_complete(group.primary, result=mean, error=mean is None)

    def _mean(self, results: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the last result with the mean of all in place of each metric; None if one was never a number."""
        metrics = [self.metric] if isinstance(self.metric, str) else list(self.metric or ())
        means = {}
        for metric in metrics:
            values = [float(each[metric]) for each in results if metric in each]
            values = [value for value in values if not math.isnan(value)]
            if not values:
                return None
            means[metric] = math.fsum(values) / len(values)
        return {**results[-1], **means} if results else None
