"""Random and grid search: the default ``search_alg``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpctune.common.checks import is_whole
from hpctune.errors import UsageError
from hpctune.search.adapters.points import checked_points
from hpctune.search.base import EXHAUSTED, WAIT, Exhausted, SearchAlgorithm, Suggestion, Wait
from hpctune.space import Variants, variants
from hpctune.space.randomness import as_seed
from hpctune.space.tried import Tried
from hpctune.space.variants import Place

if TYPE_CHECKING:
    from hpctune.space.randomness import RandomSource


class BasicVariantGenerator(SearchAlgorithm):
    """Samples every domain at random and tries every grid point, ``num_samples`` times.

    Args:
        points_to_evaluate: Configurations to try first; what one leaves open is sampled. Each uses up one of
            ``num_samples``.
        max_concurrent: How many trials may be under way at a time; 0: no limit.
        constant_grid_search: Keep the random values the same for all grid points of a sample.
        random_state: A seed, or a numpy Generator or RandomState that one is drawn from; None: the experiment's.

    Raises:
        UsageError: if ``max_concurrent`` is negative or no integer, or ``points_to_evaluate`` no list of dicts.
    """

    def __init__(
        self,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        max_concurrent: int = 0,
        constant_grid_search: bool = False,
        random_state: RandomSource = None,
    ) -> None:
        if not is_whole(max_concurrent) or max_concurrent < 0:
            raise UsageError(f"max_concurrent must be 0 (no limit) or more, not {max_concurrent!r}.")
        self.points_to_evaluate = checked_points(points_to_evaluate)
        self.max_concurrent = max_concurrent
        self.constant_grid_search = constant_grid_search
        self.random_state = random_state

    def bind(
        self,
        space: Mapping[str, Any],
        num_samples: int,
        seed: int,
        *,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
    ) -> VariantPolicy:
        """Return the policy that goes through ``space``. It heeds no metric."""
        return VariantPolicy(
            variants(
                space,
                seed=seed if self.random_state is None else as_seed(self.random_state),
                points_to_evaluate=self.points_to_evaluate,
                num_samples=num_samples,
                constant_grid_search=self.constant_grid_search,
            ),
            self.max_concurrent,
        )


class VariantPolicy:
    """Suggests the variants of a search space in their order, without those that were tried by earlier drivers.

    What was tried is recognized by its values, so the space may have changed since.
    """

    learns = False
    """What it suggests does not depend on results: it may be asked ahead of time."""

    def __init__(self, variants: Variants, max_concurrent: int = 0) -> None:
        self.variants = variants
        self.outside: list[str] = []
        """Trials of earlier drivers that are not in the search space."""
        self._max_concurrent = max_concurrent
        self._live: set[str] = set()
        self._tried = Tried(variants)
        self._surplus = 0
        self._next = 0

    @property
    def total(self) -> int | None:
        """The variants, and the earlier trials that are none of them (or more than are wanted)."""
        return None if self.variants.total is None else self.variants.total + self._surplus

    def suggest(self, index: int, trial_id: str) -> Suggestion | Wait | Exhausted:
        """Return the next variant that has not been tried."""
        place = self._next_place()
        if place is None:
            return EXHAUSTED
        if self._max_concurrent and len(self._live) >= self._max_concurrent:
            return WAIT
        self._next += 1
        variant = self.variants.draw(place, index)
        self._live.add(trial_id)
        return Suggestion(variant.config, variant.evaluated)

    def _next_place(self) -> Place | None:
        total = self.variants.total
        while total is None or self._next < total:
            place = self.variants.place(self._next)
            if place.repetition >= self._tried(place.block, place.point):
                return place
            self._next += 1
        return None

    def replay(self, index: int, trial_id: str, config: Mapping[str, Any]) -> None:
        """Count the trial among those that were tried, and among those under way."""
        inside, wanted = self._tried.add(config)
        self.outside += [] if inside else [trial_id]
        self._surplus += not wanted
        self._live.add(trial_id)

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Do nothing: results do not matter here."""

    def on_pause(self, trial_id: str) -> None:
        """Do nothing: a paused trial is under way."""

    def on_unpause(self, trial_id: str) -> None:
        """Do nothing."""

    def on_complete(self, trial_id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """Stop counting the trial among those under way."""
        self._live.discard(trial_id)
