"""The base of hpctune's own models: what trials say becomes points with losses, and points become suggestions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpctune.common.checks import is_number, is_whole
from hpctune.errors import UsageError
from hpctune.model.rows import lookup as value_of, number
from hpctune.search.adapters.library import LibrarySearcher
from hpctune.search.adapters.objective import Loss
from hpctune.search.adapters.parameters import Parameter, ParameterSpace
from hpctune.search.adapters.points import Evaluated
from hpctune.search.adapters.unit import from_unit, to_unit
from hpctune.search.models.axes import Axis, draw_design
from hpctune.search.search_generator import overlay
from hpctune.space import Categorical, Domain, has_unresolved
from hpctune.space.randomness import as_seed, stream
from hpctune.space.resolve import resolve
from hpctune.space.tree import lookup, map_leaves, path_text

if TYPE_CHECKING:
    import numpy as np

    from hpctune.search.models.axes import Array

_TABLE_AT_MOST = 64
"""A numeric parameter with no more values than that is searched by value, one with more as though continuous."""
_PROBES = 1024
FINAL = math.inf
"""The time of a loss that counts as that of the longest training: of one that failed, or was evaluated elsewhere."""
_KEPT_EVERY = 1.1
"""Of a trial's results those are kept that come this many times later than the one kept before, and the last."""


@dataclass(slots=True)
class Record:
    """A point that was tried, and the losses of its trial by the time of training at which it had them, in order."""

    point: tuple[float, ...]
    losses: dict[float, float] = field(default_factory=dict)
    _kept: float = 0.0

    @property
    def loss(self) -> float | None:
        """The newest loss; None before there is any."""
        return next(reversed(self.losses.values()), None)

    @property
    def time(self) -> float:
        """The time of the newest loss; 0 before there is any."""
        return next(reversed(self.losses), 0.0)

    def at(self, time: float) -> float | None:
        """The newest time no later than ``time`` at which a loss is known."""
        return max((known for known in self.losses if known <= time), default=None)

    def take(self, time: float, loss: float) -> None:
        """Take a newer loss."""
        if self.losses and self.time > self._kept:
            self.losses.popitem()
        self.losses.pop(time, None)
        self.losses[time] = loss
        if time >= _KEPT_EVERY * self._kept:
            self._kept = time


class ModelSearch(LibrarySearcher):
    """A searcher that is a model of hpctune's own; a subclass defines :meth:`_propose`.

    A suggestion depends on the seed, its number, and what was reported before it, on nothing else.

    Args:
        space: The search space; None: the experiment's.
        metric: The reported value to optimize; None: the experiment's.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first. What one leaves open is drawn at random.
        evaluated_rewards: The metric of each of those points, if it is known: they are learned from and not tried.
        seed: None: the experiment's.
        n_initial_points: How many results to await before the model is asked; until then points are spread evenly.
        learn_from_intermediate: Whether trials under way count with what they have reported last.
        time_attr: The reported value that says for how long a trial has trained.

    Raises:
        UsageError: if an argument is of the wrong kind.
    """

    conditional = True
    asks_again = False

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
        *,
        n_initial_points: int = 10,
        learn_from_intermediate: bool = True,
        time_attr: str = "training_iteration",
    ) -> None:
        if not is_whole(n_initial_points) or n_initial_points < 1:
            raise UsageError(f"n_initial_points must be a whole number of 1 or more, not {n_initial_points!r}.")
        self.n_initial_points, self.learn_from_intermediate = n_initial_points, bool(learn_from_intermediate)
        self.time_attr = time_attr
        self._dimensions: list[_Dimension] = []
        self._suggested = 0
        self._under_way: dict[str, Record] = {}
        self._over: list[Record] = []
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)

    def _propose(
        self, axes: Sequence[Axis], over: list[Record], under_way: list[Record], rng: np.random.Generator
    ) -> Array:
        """Return the next point, given the trials that are over and those under way.

        The losses of one under way are empty if it has reported none, or none is to be learned from.
        """
        raise NotImplementedError

    def _start(self, seed: int | None) -> None:
        self._seed = as_seed(seed)
        numbers = {parameter.name: number for number, parameter in enumerate(self.parameters)}
        self._dimensions = [_dimension(parameter, numbers) for parameter in self.parameters]

    def _take_space(self, space: Any) -> None:
        if not isinstance(space, Mapping) or not has_unresolved(dict(space)):
            super()._take_space(space)  # says what is wrong with it
        else:
            self._layout = ParameterSpace(space, type(self).__name__, constants=self._own_space, computed=True)
            self._native = self._layout.parameters

    # -- suggestions ------------------------------------------------------------------------------------------

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next configuration to try, with every ``sample_from`` computed from the rest of it.

        Raises:
            SearchSpaceError: if no space is known, or a ``sample_from`` fails.
            UsageError: if no metric or mode is.
        """
        nested = super().suggest(trial_id)
        if not isinstance(nested, dict) or not has_unresolved(nested):
            return nested
        assert isinstance(self._layout, ParameterSpace)
        whole = resolve(overlay(self._layout.space, nested), lambda path, nth: self._stream(path_text(path), nth))
        found: dict[str, Any] = map_leaves(
            nested, lambda path, leaf: lookup(whole, path) if isinstance(leaf, Domain) else leaf
        )
        return found

    def _ask(self, trial_id: str) -> dict[str, Any]:
        return self._adopt(trial_id, self._values(self._next_point()))

    def _adopt(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        if trial_id not in self._under_way:
            self._suggested += 1
        self._under_way[trial_id] = Record(self._point(values))
        return values

    def _next_point(self) -> Array:
        axes, under_way = [each.axis for each in self._dimensions], list(self._under_way.values())
        known = [record.loss for record in (*self._over, *under_way)]
        if sum(loss is not None and math.isfinite(loss) for loss in known) >= self.n_initial_points:
            return self._propose(axes, self._over, under_way, self._stream("suggestion"))
        block, place = divmod(self._suggested, self.n_initial_points)
        found: Array = draw_design(axes, self.n_initial_points, stream(self._seed or 0, block, "design", 0))[place]
        return found

    def _stream(self, what: str, nth: int = 0) -> np.random.Generator:
        """The chance of the next suggestion."""
        assert self._seed is not None
        return stream(self._seed, self._suggested, what, nth)

    def _values(self, point: Array) -> dict[str, Any]:
        pairs = zip(self._dimensions, point.tolist(), strict=True)
        return {each.parameter.name: each.value(place) for each, place in pairs if not math.isnan(place)}

    def _point(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        pairs = [(each, each.parameter.name) for each in self._dimensions]
        return tuple(each.place(values[name]) if name in values else math.nan for each, name in pairs)

    # -- results ----------------------------------------------------------------------------------------------

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take what a trial under way has reached."""
        if self.learn_from_intermediate and trial_id in self._under_way:
            self._take(self._under_way[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take the trial's last metric. A trial that failed, or whose last metric is not finite, is the worst."""
        if self._pending.pop(trial_id, None) is None:
            return
        record = self._under_way.pop(trial_id)
        if error or not result or not self._take(record, result):
            record.take(FINAL, math.inf)
        self._over.append(record)

    def _take(self, record: Record, result: Mapping[str, Any]) -> bool:
        """Whether the result has the metric."""
        if value_of(result, str(self._metric)) is None:
            return False
        time = number(result, self.time_attr)
        record.take(record.time + 1 if time is None or time != time else time, _or_worst(self._loss_of(result)))
        return True

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        record = Record(self._point(values))
        record.take(FINAL, _or_worst(loss))
        self._over.append(record)


@dataclass(frozen=True, slots=True)
class _Dimension:
    """A parameter and its axis. ``values``: those of a numeric parameter that is searched by value."""

    parameter: Parameter
    axis: Axis
    values: tuple[Any, ...] = ()

    def value(self, place: float) -> Any:
        """The parameter's value at a place on the axis."""
        domain = self.parameter.domain
        if isinstance(domain, Categorical):
            return self.parameter.value(int(place))
        return self.values[int(place)] if self.values else from_unit(domain, place)

    def place(self, value: Any) -> float:
        """Where a value is on the axis."""
        domain = self.parameter.domain
        if isinstance(domain, Categorical):
            return float(self.parameter.option(value))
        if self.values:
            return float(min(range(len(self.values)), key=lambda i: abs(self.values[i] - value)))
        return to_unit(domain, value)


def _dimension(parameter: Parameter, numbers: Mapping[str, int]) -> _Dimension:
    parent, option = None, 0
    if parameter.condition is not None:
        parent, option = numbers[parameter.condition.parent], parameter.condition.option
    domain = parameter.domain
    if isinstance(domain, Categorical):
        count = len(domain)
        centers = tuple((i + 0.5) / count for i in range(count)) if _rising(domain.categories) else ()
        return _Dimension(parameter, Axis((1 / count,) * count, centers, parent, option))
    values, prior_probabilities, centers = _table(domain)
    if len(values) > _TABLE_AT_MOST:
        return _Dimension(parameter, Axis(parent=parent, option=option))
    return _Dimension(parameter, Axis(prior_probabilities, centers, parent, option), values)


def _table(domain: Domain) -> tuple[tuple[Any, ...], tuple[float, ...], tuple[float, ...]]:
    """The values of a numeric domain, each with its share of the prior and the middle of its places."""
    places: dict[Any, list[float]] = {}
    for probe in range(_PROBES):
        place = (probe + 0.5) / _PROBES
        places.setdefault(from_unit(domain, place), []).append(place)
    values = sorted(places)
    return (
        tuple(values),
        tuple(len(places[value]) / _PROBES for value in values),
        tuple(sum(places[value]) / len(places[value]) for value in values),
    )


def _rising(options: Sequence[Any]) -> bool:
    """Whether options are numbers in rising order, so that neighbours are alike."""
    numbers = [each for each in options if is_number(each)]
    return len(numbers) == len(options) and all(a < b for a, b in itertools.pairwise(numbers))


def _or_worst(loss: Loss | None) -> float:
    return loss if isinstance(loss, float) else math.inf
