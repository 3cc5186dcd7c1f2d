"""Domains: the sets of values that a hyperparameter may take, each with the sampler that draws from it."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hpctune.common.checks import is_number
from hpctune.errors import SearchSpaceError
from hpctune.space.randomness import as_generator
from hpctune.space.samplers import Grid, Quantized, Sampler, Uniform, Weighted

if TYPE_CHECKING:
    from numpy.random import Generator, RandomState

    from hpctune.space.randomness import RandomSource

D = TypeVar("D", bound="Domain")


class Domain(ABC):
    """A set of values and the way to draw from it. Treat it as immutable: the setters return a changed copy.

    Two domains are equal if they hold the same values and draw them in the same way.
    """

    sampler: Sampler = Uniform()

    @property
    @abstractmethod
    def domain_str(self) -> str:
        """The values in a few characters, such as ``(0.0, 1.0)``."""

    @abstractmethod
    def is_valid(self, value: Any) -> bool:
        """Return whether this domain could have drawn ``value``."""

    @abstractmethod
    def draw(self, rng: Generator) -> Any:
        """Draw one value from ``rng``."""

    @abstractmethod
    def _values(self) -> object:
        """Return what the domain contains, for comparison."""

    def cast(self, value: Any) -> Any:
        """Convert ``value`` to the type that this domain draws."""
        return value

    def sample(
        self,
        rng: RandomSource = None,
        size: int | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        random_state: Generator | RandomState | int | None = None,
    ) -> Any:
        """Draw one value (``size=None``) or a list of ``size`` values.

        Args:
            rng: A seed, a numpy Generator or RandomState, or None for fresh randomness.
            size: How many values; None for a single one that is not in a list.
            config: What a ``sample_from`` function may read.
            random_state: Ray Tune's name for ``rng``.

        Raises:
            SearchSpaceError: if the domain cannot be sampled or ``rng`` is no source of randomness.
        """
        generator = as_generator(random_state if rng is None else rng)
        if size is None:
            return self._draw_with(generator, config)
        return [self._draw_with(generator, config) for _ in range(size)]

    def _draw_with(self, rng: Generator, config: Mapping[str, Any] | None) -> Any:
        return self.draw(rng)

    def get_sampler(self) -> Sampler:
        """Return how values are drawn."""
        return self.sampler

    def exact_sampler(self) -> Sampler:
        """Return how values are drawn before they are rounded, if they are."""
        return self.sampler.sampler if isinstance(self.sampler, Quantized) else self.sampler

    def is_grid(self) -> bool:
        """Return whether every value is to be tried, as with ``grid_search``."""
        return isinstance(self.sampler, Grid)

    def is_function(self) -> bool:
        """Return whether this is a ``sample_from``."""
        return False

    def _with(self: D, sampler: Sampler) -> D:
        changed = copy.copy(self)
        changed.sampler = sampler
        return changed

    def _drawn(self: D, sampler: Sampler) -> D:
        """Return this domain, drawn by ``sampler``. Raises SearchSpaceError if its distribution has been chosen."""
        if "sampler" in vars(self):
            raise SearchSpaceError(f"{self!r} has a distribution already; a domain has only one.")
        return self._with(sampler)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Domain) or type(self) is not type(other):
            return NotImplemented
        return self.sampler == other.sampler and bool(self._values() == other._values())

    def __hash__(self) -> int:
        return hash((type(self), self.sampler))  # the values may be unhashable

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.domain_str}{self.sampler.suffix()}"


def value_list(values: Any) -> list[Any]:
    """Return values to choose from as a list; a set is put in a fixed order, so that seeds stay reproducible.

    Raises:
        SearchSpaceError: if there are none, or it is a single value (also: one string, one dict).
    """
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise SearchSpaceError(f"the values to choose from must be a list, but are {values!r}.")
    listed = sorted(values, key=repr) if isinstance(values, (set, frozenset)) else list(values)
    if not listed:
        raise SearchSpaceError("the list of values to choose from is empty.")
    return listed


class Categorical(Domain):
    """One of several values of any kind."""

    def __init__(self, categories: Iterable[Any]) -> None:
        self.categories = value_list(categories)

    @property
    def domain_str(self) -> str:
        return f"({self.categories!r})"

    def _values(self) -> object:
        return self.categories

    def uniform(self) -> Categorical:
        """Return this domain, drawn uniformly."""
        return self._with(Uniform())

    def weighted(self, weights: Sequence[float]) -> Categorical:
        """Return this domain, each category drawn in proportion to its weight. Raises SearchSpaceError if they are not
        as many numbers of 0 or more."""
        given = [weight for weight in weights if is_number(weight) and 0 <= weight < math.inf]
        if len(given) != len(self.categories) or len(given) != len(weights) or not sum(given) > 0:
            raise SearchSpaceError(
                f"the weights must be a number of 0 or more for each of the {len(self.categories)} values, not "
                f"{weights!r}."
            )
        return self._with(Weighted(tuple(float(weight) / sum(given) for weight in given)))

    def grid(self) -> Categorical:
        """Return this domain as a grid axis: every category is tried."""
        return self._with(Grid())

    def __len__(self) -> int:
        return len(self.categories)

    def __getitem__(self, index: int) -> Any:
        return self.categories[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.categories)

    def is_valid(self, value: Any) -> bool:
        return value in self.categories

    def draw(self, rng: Generator) -> Any:
        if isinstance(self.sampler, Weighted):
            return self.categories[int(rng.choice(len(self.categories), p=self.sampler.probabilities))]
        return self.categories[int(rng.integers(len(self.categories)))]
