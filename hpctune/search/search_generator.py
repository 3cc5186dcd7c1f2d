"""What makes a Searcher a search algorithm: its answers become configurations for the engine."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpctune.errors import SearchSpaceError, UsageError
from hpctune.model.rows import lookup
from hpctune.search.base import EXHAUSTED, WAIT, Exhausted, SearchAlgorithm, Suggestion, Wait
from hpctune.search.searcher import Searcher, offer_search_properties
from hpctune.space import flatten_dict
from hpctune.space.tree import KeyPath, map_leaves, path_text, unresolved


class SearchGenerator(SearchAlgorithm):
    """Binds a Searcher to the search space of an experiment.

    Raises:
        UsageError: if ``searcher`` is no Searcher.
    """

    def __init__(self, searcher: Searcher) -> None:
        if not isinstance(searcher, Searcher):
            raise UsageError(f"SearchGenerator takes an instance of a Searcher, not {searcher!r}.")
        self.searcher = searcher

    def show_what_was_learned(self) -> None:
        """Let the searcher show what the newest experiment has made of it."""
        self.searcher.show_what_was_learned()

    def bind(
        self,
        space: Mapping[str, Any],
        num_samples: int,
        seed: int,
        *,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
    ) -> SearcherPolicy:
        """Return the policy that asks a copy of the searcher, which so starts from the same state for every driver.

        The copy gets metric, mode and space through ``set_search_properties``; if that takes further keywords,
        also ``num_samples`` and ``seed``.

        Raises:
            SearchSpaceError: if the space holds domains and the searcher will not search it.
            UsageError: if the searcher cannot be copied.
        """
        searcher = self.searcher.fresh()
        accepted = offer_search_properties(searcher, metric, mode, dict(space), num_samples=num_samples, seed=seed)
        left = unresolved(space)
        if left and not accepted:
            raise SearchSpaceError(
                f"{type(self.searcher).__name__} does not search the space of the experiment (its "
                f"set_search_properties returned False), so nothing chooses {_named(left)}. "
                "Give the space to the searcher alone, or use one that takes the experiment's."
            )
        return SearcherPolicy(searcher, num_samples, space)


class SearcherPolicy:
    """Asks a Searcher for each configuration and completes it with the constants of the search space.

    Args:
        searcher: A searcher that knows what to search.
        num_samples: How many trials it may suggest; -1: without end.
        space: The search space.

    Raises:
        UsageError: if ``num_samples`` is neither positive nor -1.
    """

    def __init__(self, searcher: Searcher, num_samples: int, space: Mapping[str, Any]) -> None:
        if num_samples < 1 and num_samples != -1:
            raise UsageError(f"num_samples must be 1 or more, or -1 for no end, not {num_samples!r}.")
        self.searcher = searcher
        self.total = None if num_samples == -1 else num_samples
        self._space = dict(space)
        self._suggested: set[str] = set()

    def suggest(self, index: int, trial_id: str) -> Suggestion | Wait | Exhausted:
        """Return the searcher's suggestion for a trial.

        Raises:
            SearchSpaceError: if it leaves a parameter of the space open.
            UsageError: if it is no dict, None or FINISHED.
        """
        if self.total is not None and index >= self.total:
            return EXHAUSTED
        answer = self.searcher.suggest(trial_id)
        if answer is None:
            return WAIT
        if answer == Searcher.FINISHED:
            return EXHAUSTED
        name = type(self.searcher).__name__
        if not isinstance(answer, dict):
            raise UsageError(f"{name}.suggest returned {answer!r}; it must be a dict, None or Searcher.FINISHED.")
        config = overlay(self._space, answer)
        if left := unresolved(config):
            raise SearchSpaceError(f"{name}.suggest gave no value for {_named(left)} of the search space.")
        self._suggested.add(trial_id)
        return Suggestion(config, flatten_dict(answer))

    def replay(self, index: int, trial_id: str, config: Mapping[str, Any]) -> None:
        """Tell the searcher what it once suggested; it is not asked again."""
        self._suggested.add(trial_id)
        self.searcher.on_suggestion_replayed(trial_id, dict(config))

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass an intermediate result on, if the trial is one of the searcher's."""
        if trial_id in self._suggested:
            self.searcher.on_trial_result(trial_id, dict(result))

    def on_pause(self, trial_id: str) -> None:
        """Pass it on, if the trial is one of the searcher's."""
        if trial_id in self._suggested:
            self.searcher.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Pass it on, if the trial is one of the searcher's."""
        if trial_id in self._suggested:
            self.searcher.on_unpause(trial_id)

    def on_complete(self, trial_id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """Pass the end of a trial on, once, if the trial is one of the searcher's; no result of one that failed."""
        if trial_id in self._suggested:
            self._suggested.remove(trial_id)
            last = None if result is None or error else dict(result)
            self.searcher.on_trial_complete(trial_id, result=last, error=error)

    def learn(self, config: Mapping[str, Any], result: Mapping[str, Any] | None, error: bool) -> None:
        """Let the searcher learn from a trial that it did not suggest, if it can: its config and its last result."""
        metric = self.searcher.metric
        value = lookup(result, metric) if result is not None and isinstance(metric, str) else None
        if value is None and not error:
            return
        point = {key: child for key, child in config.items() if key in self._space} or dict(config)
        with contextlib.suppress(NotImplementedError, SearchSpaceError):
            self.searcher.add_evaluated_point(point, math.nan if value is None else value, error=error)


def _named(paths: Iterable[KeyPath]) -> str:
    return ", ".join(f"'{path_text(path)}'" for path in paths)


def overlay(base: Any, update: Any) -> Any:
    """Return a copy of ``base`` with the entries of ``update``, which may be new, added to its dicts."""
    if not isinstance(base, dict) or not isinstance(update, dict):
        return map_leaves(update, lambda _, leaf: leaf)
    fresh = map_leaves({key: value for key, value in base.items() if key not in update}, lambda _, leaf: leaf)
    return {**fresh, **{key: overlay(base.get(key), value) for key, value in update.items()}}
