"""``ray.tune.suggest.SuggestionAlgorithm`` of 0.x: searchers that define ``_suggest``."""

from __future__ import annotations

from typing import Any

from hpctune.search.searcher import Searcher


class SuggestionAlgorithm(Searcher):
    """Derive from it and define ``_suggest``."""

    def _suggest(self, trial_id: str) -> dict[str, Any] | None:
        raise NotImplementedError(f"{type(self).__name__} must define _suggest(trial_id).")

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """What ``_suggest`` returns."""
        return self._suggest(trial_id)
