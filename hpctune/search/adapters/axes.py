"""Search spaces as axes: what libraries understand that know numbers between bounds and options, and little else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from hpctune.common.checks import is_number
from hpctune.errors import SearchSpaceError
from hpctune.search.adapters.library import LibrarySearcher, Loss
from hpctune.search.adapters.parameters import Parameter, ParameterSpace
from hpctune.search.adapters.unit import from_unit, snapped, to_unit
from hpctune.space import Categorical, Float, Integer, LogUniform, Normal, Quantized, Uniform
from hpctune.space.points import same


class Kind(Enum):
    """What the coordinates of an axis are."""

    REAL = "real"
    WHOLE = "whole"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Axis:
    """One parameter as a library searches it. A value of the parameter has a coordinate on the axis, and back.

    A parameter with a quantization step is searched in whole numbers of steps, and a choice in the numbers of its
    options. A bell curve, and a logarithmic scale if the library has none, are searched on the scale from 0 to 1
    on which they are uniform.

    ``low``, ``high``: the bounds of the coordinates, both included. ``log``: whether the library is to search them
    on a logarithmic scale. ``step``: what a coordinate counts. ``unit``: whether it is on the scale from 0 to 1.
    """

    parameter: Parameter
    kind: Kind
    low: float
    high: float
    log: bool = False
    step: float = 1
    unit: bool = False

    @property
    def name(self) -> str:
        """The name of the parameter."""
        return self.parameter.name

    @property
    def fixed(self) -> bool:
        """Whether there is only one coordinate. Most libraries refuse such a parameter: it is kept from them."""
        return self.low == self.high

    @property
    def ordered(self) -> bool:
        """Whether coordinates that are near each other stand for similar values: numbers, or a rising list of them."""
        domain = self.parameter.domain
        if not isinstance(domain, Categorical):
            return True
        numbers = [each for each in domain.categories if is_number(each)]
        return len(numbers) == len(domain) and numbers == sorted(numbers)

    @property
    def middle(self) -> float:
        """A coordinate for a parameter that has no value, since its condition does not hold."""
        if self.kind is Kind.OPTION:
            return 0
        between = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return round(between) if self.kind is Kind.WHOLE else between

    def value(self, coordinate: Any) -> Any:
        """Return the value at a coordinate. One just outside, or between whole numbers, is put right."""
        domain = self.parameter.domain
        if self.kind is Kind.OPTION:
            option = int(coordinate)
            return option if self.parameter.branching else domain.categories[option]  # type: ignore[attr-defined]
        if self.unit:
            return from_unit(domain, min(max(float(coordinate), 0.0), 1.0))
        return snapped(domain, float(coordinate) * self.step)

    def coordinate(self, value: Any) -> Any:
        """Return the coordinate of a value of the domain."""
        domain = self.parameter.domain
        if isinstance(domain, Categorical):
            return value if self.parameter.branching else _option(domain, value)
        if self.unit:
            return to_unit(domain, value)
        number = value / self.step
        return round(number) if self.kind is Kind.WHOLE else min(max(float(number), self.low), self.high)


def axis_of(parameter: Parameter, has_log: bool) -> Axis | None:
    """Return the axis of a parameter; None if its values are uniform without bounds.

    Args:
        parameter: A parameter of the space.
        has_log: Whether the library knows logarithmic scales.
    """
    domain = parameter.domain
    if isinstance(domain, Categorical):
        return Axis(parameter, Kind.OPTION, 0, len(domain) - 1)
    if not isinstance(domain, (Float, Integer)):
        return None
    sampler = domain.exact_sampler()
    log = isinstance(sampler, LogUniform)
    if isinstance(sampler, Normal) or (log and not has_log):
        return Axis(parameter, Kind.REAL, 0.0, 1.0, unit=True)
    low, high = (domain.smallest, domain.largest) if isinstance(domain, Integer) else (domain.lower, domain.upper)
    if not isinstance(sampler, (Uniform, LogUniform)) or not (math.isfinite(low) and math.isfinite(high)):
        return None
    step = domain.sampler.q if isinstance(domain.sampler, Quantized) else 1
    if isinstance(domain, Integer) or isinstance(domain.sampler, Quantized):
        return Axis(parameter, Kind.WHOLE, round(low / step), round(high / step), log, step)
    return Axis(parameter, Kind.REAL, low, high, log)


class AxisSearcher(LibrarySearcher):
    """A searcher whose library searches axes.

    All parameters of a conditional space are axes, of which some do not matter for a configuration.
    """

    conditional = True
    has_log: ClassVar[bool] = True
    """Whether the library knows logarithmic scales."""
    _worst: float | None = None

    def _known(self, loss: Loss | None) -> float | None:
        """Return a loss; for a trial that failed the worst so far, and None if there is none.

        For libraries without a notion of failure: they would suggest the same point again.
        """
        if loss is None:
            return self._worst
        assert isinstance(loss, float)
        self._worst = loss if self._worst is None else max(loss, self._worst)
        return loss

    def _convert(self, parameter: Parameter) -> Axis:
        axis = axis_of(parameter, self.has_log)
        if axis is None:
            raise self._unsupported(parameter, "Use uniform or loguniform with bounds, or choice.")
        return axis

    def _check(self) -> None:
        super()._check()
        if self._converts:
            self._axes  # noqa: B018 - it raises if there is nothing to search

    @property
    def _converts(self) -> bool:
        """Whether the space is one of hpctune domains; else coordinates are values, in the library's own format."""
        return isinstance(self._layout, ParameterSpace)

    @property
    def _axes(self) -> list[Axis]:
        """What there is to search. Raises SearchSpaceError if there is nothing."""
        free = [axis for axis in self._native.values() if not axis.fixed]
        if not free:
            raise SearchSpaceError(
                "Every parameter of the search space has one value only: there is nothing to search."
            )
        return free

    def _values(self, coordinates: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values at these coordinates, those of fixed parameters included."""
        if not self._converts:
            return {name: plain(coordinate) for name, coordinate in coordinates.items()}
        axes: dict[str, Axis] = self._native
        return {name: axis.value(coordinates.get(name, axis.low)) for name, axis in axes.items()}

    def _coordinates(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the coordinates of these values; those of parameters without value are in the middle."""
        if not self._converts:
            return dict(values)
        return {
            axis.name: axis.coordinate(values[axis.name]) if axis.name in values else axis.middle for axis in self._axes
        }


def plain(value: Any) -> Any:
    """Return numpy's numbers and strings as Python's."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _option(domain: Categorical, value: Any) -> int:
    return next(number for number, category in enumerate(domain.categories) if same(category, value))
