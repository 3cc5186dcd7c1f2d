"""A limit on how many of a searcher's trials may be under way."""

from __future__ import annotations

from typing import Any

from hpctune.common.checks import is_whole
from hpctune.errors import UsageError
from hpctune.search.searcher import Searcher, SearcherWrapper


class ConcurrencyLimiter(SearcherWrapper):
    """Lets a searcher suggest only while fewer than ``max_concurrent`` of its trials are under way.

    Searchers that learn from results do better if they see some before they suggest more. A searcher that can keep a
    limit by itself (``set_max_concurrency`` returns True, as TuneBOHB's does) is told the limit, and keeps it.

    Args:
        searcher: The searcher to limit.
        max_concurrent: How many trials may be under way at a time.
        batch: When ``max_concurrent`` trials have been suggested, suggest nothing new until all of them are complete,
            and tell the searcher of their ends only then, all at once.

    Raises:
        UsageError: if ``max_concurrent`` is not a positive integer.
    """

    def __init__(self, searcher: Searcher, max_concurrent: int, batch: bool = False) -> None:
        super().__init__(searcher)
        self.batch = batch
        self._live: set[str] = set()
        self._ended: dict[str, tuple[dict[str, Any] | None, bool]] = {}
        self.set_max_concurrency(max_concurrent)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Change the limit. Returns True: this searcher keeps it by itself."""
        if not is_whole(max_concurrent) or max_concurrent < 1:
            raise UsageError(f"max_concurrent must be an integer of 1 or more, not {max_concurrent!r}.")
        self.max_concurrent = max_concurrent
        self._kept_inside = not self.batch and self.searcher.set_max_concurrency(max_concurrent)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the searcher's suggestion, or None while the limit is reached."""
        if not self._kept_inside and len(self._live) + len(self._ended) >= self.max_concurrent:
            return None
        suggestion = self.searcher.suggest(trial_id)
        if suggestion is None and self._ended and not self._live:  # it may wait for the very results that are held back
            self._tell_ended()
            suggestion = self.searcher.suggest(trial_id)
        if isinstance(suggestion, dict):
            self._live.add(trial_id)
        return suggestion

    def on_suggestion_replayed(self, trial_id: str, config: dict[str, Any]) -> None:
        self._live.add(trial_id)
        self.searcher.on_suggestion_replayed(trial_id, config)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the searcher of the trial's end: at once, or in a batch with the last of its trials."""
        if trial_id not in self._live:
            return
        self._live.remove(trial_id)
        self._ended[trial_id] = result, error
        if not self.batch or len(self._ended) >= self.max_concurrent:
            self._tell_ended()

    def _tell_ended(self) -> None:
        ended, self._ended = self._ended, {}
        for trial_id, (result, error) in ended.items():
            self.searcher.on_trial_complete(trial_id, result=result, error=error)
