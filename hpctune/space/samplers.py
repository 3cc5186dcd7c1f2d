"""How a domain draws its values. Samplers are plain values: the domains act on them, searchers read them."""

from __future__ import annotations

from dataclasses import dataclass

from hpctune.errors import SearchSpaceError


class Sampler:
    """Base of all samplers."""

    def __str__(self) -> str:
        return type(self).__name__

    def suffix(self) -> str:
        """Return the method call that gives a domain this sampler, as domains show it in their repr."""
        return ""


@dataclass(frozen=True)
class Uniform(Sampler):
    """Every value is equally likely."""


@dataclass(frozen=True)
class Grid(Sampler):
    """Every value is tried once, as with ``grid_search``."""

    def suffix(self) -> str:
        return ".grid()"


@dataclass(frozen=True)
class Weighted(Sampler):
    """Each value has a probability of its own; they sum to 1."""

    probabilities: tuple[float, ...]

    def suffix(self) -> str:
        return f".weighted({list(self.probabilities)!r})"


@dataclass(frozen=True)
class LogUniform(Sampler):
    """The logarithm of the value is uniform. ``base`` is kept for searchers; it does not change what is drawn."""

    base: float = 10

    def __post_init__(self) -> None:
        if not self.base > 1:
            raise SearchSpaceError(f"the base {self.base!r} of a logarithm must be greater than 1.")

    def suffix(self) -> str:
        return ".loguniform()" if self.base == 10 else f".loguniform({self.base!r})"


@dataclass(frozen=True)
class Normal(Sampler):
    """The bell curve with this mean and standard deviation. A domain that has bounds clips to them."""

    mean: float = 0.0
    sd: float = 1.0

    def __post_init__(self) -> None:
        if not self.sd > 0:
            raise SearchSpaceError(f"the standard deviation {self.sd!r} must be greater than 0.")

    def suffix(self) -> str:
        return f".normal({self.mean!r}, {self.sd!r})"


@dataclass(frozen=True)
class Quantized(Sampler):
    """What another sampler draws, rounded to a multiple of ``q``. The upper bound becomes inclusive."""

    sampler: Sampler
    q: float

    def get_sampler(self) -> Sampler:
        """Return the sampler whose values are rounded."""
        return self.sampler

    def suffix(self) -> str:
        return f"{self.sampler.suffix()}.quantized({self.q!r})"
