"""Numeric domains: real and whole numbers between bounds."""

from __future__ import annotations

import math
from decimal import Decimal
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from hpctune.errors import SearchSpaceError
from hpctune.space.domain import Domain
from hpctune.space.samplers import LogUniform, Normal, Quantized, Uniform

if TYPE_CHECKING:
    from numpy.random import Generator


class Float(Domain):
    """Real numbers from ``lower`` to ``upper``, both included; None means without bound. The bounds may be equal."""

    def __init__(self, lower: float | None = None, upper: float | None = None) -> None:
        self.lower = -math.inf if lower is None else _number(lower, "lower bound")
        self.upper = math.inf if upper is None else _number(upper, "upper bound")
        if self.lower != self.upper:
            _check_order(self.lower, self.upper)

    @property
    def domain_str(self) -> str:
        bounds = (repr(bound) if math.isfinite(bound) else "None" for bound in (self.lower, self.upper))
        return f"({', '.join(bounds)})"

    def _values(self) -> object:
        return self.lower, self.upper

    def cast(self, value: Any) -> float:
        return float(value)

    def uniform(self) -> Float:
        """Return this domain, drawn uniformly. Raises SearchSpaceError if a bound is missing."""
        self._check_bounded("uniform")
        return self._drawn(Uniform())

    def loguniform(self, base: float = 10) -> Float:
        """Return this domain, drawn uniformly in the logarithm. Raises SearchSpaceError if lower <= 0."""
        _check_log(self.lower)
        self._check_bounded("loguniform")
        return self._drawn(LogUniform(base))

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> Float:
        """Return this domain, drawn from a bell curve and clipped to the bounds (if it has any)."""
        return self._drawn(Normal(_finite(mean, "mean"), _finite(sd, "standard deviation")))

    def quantized(self, q: float) -> Float:
        """Return this domain rounded to multiples of ``q``. Raises SearchSpaceError if a bound is no multiple."""
        q = _finite(q, "quantization step q")
        if not q > 0:
            raise SearchSpaceError(f"the quantization step q={q!r} must be greater than 0.")
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            if math.isfinite(bound) and not _is_multiple(bound, q):
                raise SearchSpaceError(
                    f"the {name} bound {bound!r} is not a multiple of q={q!r}; the nearest is {snap(bound, q)!r}."
                )
        return self._with(Quantized(self.exact_sampler(), q))

    def _check_bounded(self, how: str) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper)):
            raise SearchSpaceError(f"{how} needs a lower and an upper bound, but the domain is {self.domain_str}.")

    def is_valid(self, value: Any) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool):
            return False
        number = float(value)
        if not self.lower <= number <= self.upper:
            return False
        return not isinstance(self.sampler, Quantized) or _is_multiple(number, self.sampler.q)

    def draw(self, rng: Generator) -> float:
        sampler = self.sampler
        if isinstance(sampler, Quantized):
            value = snap(self._draw_exact(rng), sampler.q)
        else:
            value = self._draw_exact(rng)
        return min(max(value, self.lower), self.upper)

    def _draw_exact(self, rng: Generator) -> float:
        sampler = self.exact_sampler()
        if isinstance(sampler, Normal):
            return float(rng.normal(sampler.mean, sampler.sd))
        self._check_bounded("drawing a value")
        if isinstance(sampler, LogUniform):
            return math.exp(rng.uniform(math.log(self.lower), math.log(self.upper)))
        return float(rng.uniform(self.lower, self.upper))


class Integer(Domain):
    """Whole numbers from ``lower`` up to but not including ``upper``; once quantized, ``upper`` is included."""

    def __init__(self, lower: int, upper: int) -> None:
        self.lower = _whole(lower, "lower bound")
        self.upper = _whole(upper, "upper bound")
        _check_order(self.lower, self.upper)

    @property
    def domain_str(self) -> str:
        return f"({self.lower}, {self.upper})"

    def _values(self) -> object:
        return self.lower, self.upper

    def cast(self, value: Any) -> int:
        return int(value)

    def uniform(self) -> Integer:
        """Return this domain, drawn uniformly."""
        return self._drawn(Uniform())

    def loguniform(self, base: float = 10) -> Integer:
        """Return this domain, drawn uniformly in the logarithm. Raises SearchSpaceError if lower <= 0."""
        _check_log(self.lower)
        return self._drawn(LogUniform(base))

    def quantized(self, q: int) -> Integer:
        """Return this domain rounded to multiples of ``q``. Raises SearchSpaceError if it contains none."""
        q = _whole(q, "quantization step q")
        if q < 1:
            raise SearchSpaceError(f"the quantization step q={q} must be 1 or more.")
        if self.upper // q * q < self.lower:
            raise SearchSpaceError(f"there is no multiple of q={q} from {self.lower} to {self.upper}.")
        return self._with(Quantized(self.exact_sampler(), q))

    @property
    def step(self) -> int:
        """The distance between neighbouring values: q, or 1."""
        return int(self.sampler.q) if isinstance(self.sampler, Quantized) else 1

    @property
    def smallest(self) -> int:
        """The smallest value that can be drawn."""
        return -(-self.lower // self.step) * self.step

    @property
    def largest(self) -> int:
        """The largest value that can be drawn."""
        last = self.upper if isinstance(self.sampler, Quantized) else self.upper - 1
        return last // self.step * self.step

    def is_valid(self, value: Any) -> bool:
        if not isinstance(value, Integral) or isinstance(value, bool):
            return False
        return self.smallest <= int(value) <= self.largest and int(value) % self.step == 0

    def draw(self, rng: Generator) -> int:
        step = self.step
        if not isinstance(self.exact_sampler(), LogUniform):
            return step * int(rng.integers(self.smallest // step, self.largest // step, endpoint=True))
        exact = math.exp(rng.uniform(math.log(self.lower), math.log(self.upper)))
        value = step * round(exact / step) if isinstance(self.sampler, Quantized) else math.floor(exact)
        return min(max(value, self.smallest), self.largest)


def _number(value: Any, what: str) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or math.isnan(value):
        raise SearchSpaceError(f"the {what} must be a number, not {value!r}.")
    return float(value)


def _finite(value: Any, what: str) -> float:
    number = _number(value, what)
    if math.isinf(number):
        raise SearchSpaceError(f"the {what} must be finite, not {value!r}.")
    return number


def _whole(value: Any, what: str) -> int:
    if not isinstance(value, Integral) and not _finite(value, what).is_integer():
        raise SearchSpaceError(f"the {what} must be a whole number, not {value!r}.")
    if isinstance(value, bool):
        raise SearchSpaceError(f"the {what} must be a whole number, not {value!r}.")
    return int(value)


def _check_order(lower: float, upper: float) -> None:
    if not lower < upper:
        raise SearchSpaceError(f"the lower bound {lower!r} must be smaller than the upper bound {upper!r}.")


def _check_log(lower: float) -> None:
    if not lower > 0:
        raise SearchSpaceError(f"a logarithmic scale needs a lower bound greater than 0, but it is {lower!r}.")


def snap(value: float, q: float) -> float:
    """Return the multiple of ``q`` nearest to ``value``, as one would write it: 0.3, not 0.30000000000000004."""
    return float(Decimal(repr(q)) * round(value / q))


def _is_multiple(value: float, q: float) -> bool:
    return math.isclose(value / q, round(value / q), rel_tol=1e-9, abs_tol=1e-9)
