"""Saves memory for finalized trials: equal keys, texts, numbers and requests are stored only once.

A driver keeps every trial until its own end, and most trials are over. The values stay equal; only their storage
changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpctune.core.change import changed
from hpctune.model.records import ErrorInfo
from hpctune.model.resources import Resources
from hpctune.model.rows import Row
from hpctune.model.trial import Trial

REMEMBERED = 4096
"""The number of texts, and of numbers, that are kept to find equal ones. Then the collection is emptied."""


class Packed(Mapping[str, Any]):
    """A read-only mapping that shares its keys with others.

    It is equal to the dict that it stands for, and is copied and pickled as that dict. Nested dicts are packed as well;
    access to one returns a new dict.
    """

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: tuple[Any, ...]) -> None:
        """``places``: the index of each value, by key."""
        self._places, self._values = places, values

    def __getitem__(self, key: str) -> Any:
        return opened(self._values[self._places[key]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)

    def same(self, other: Packed) -> bool:
        """Whether keys and values are the same objects, not only equal."""
        return self._places is other._places and all(map(_same, self._values, other._values))


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is Packed and type(other) is Packed and one.same(other))


def opened(value: Any) -> Any:
    """The dict for which a Packed stands; any other value unchanged."""
    return dict(value) if type(value) is Packed else value


def reopened(trial: Trial) -> Trial:
    """A packed trial with normal dicts, because it will run again."""
    opened_values = {name: opened(getattr(trial, name)) for name in ("config", "evaluated", "last", "stated")}
    return changed(trial, **opened_values)


class Packer:
    """Packs the trials of one experiment."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[str, ...], dict[str, int]] = {}
        self._request = Resources()
        self._known: dict[type, dict[Any, Any]] = {str: {}, float: {}, int: {}}

    def pack(self, trial: Trial) -> Trial:
        """The same trial in less memory. Only plain dicts with text keys are packed."""
        for known in self._known.values():
            if len(known) > REMEMBERED:
                known.clear()
        for own in (trial.trial_id, trial.tag):  # each result contains them, too
            self._known[str][own] = own
        if trial.resources != self._request:
            self._request = trial.resources
        error, config = trial.error, self._mapping(trial.config)
        return changed(
            trial,
            config=config,
            evaluated=self._mapping(trial.evaluated, config),
            last=self._mapping(trial.last, config),
            stated=self._mapping(trial.stated),
            resources=self._request,
            reason=self._once(trial.reason),
            stop=self._once(trial.stop),
            error=error and ErrorInfo(*map(self._once, (error.kind, error.message, error.traceback))),
        )

    def _mapping(self, value: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """``value`` packed. If it, or a dict in it, equals the packed mapping ``like``, ``like`` itself is used."""
        if type(value) is not dict and type(value) is not Row:
            return value
        keys = tuple(value)
        layout = self._layouts.get(keys)
        if layout is None:
            if any(type(key) is not str for key in keys):
                return value
            layout = self._layouts[keys] = {key: place for place, key in enumerate(keys)}
        packed = Packed(layout, tuple([self._value(each, like) for each in value.values()]))
        return like if type(like) is Packed and packed.same(like) else packed

    def _value(self, value: Any, like: Mapping[str, Any] | None) -> Any:
        return self._mapping(value, like) if type(value) is dict else self._once(value)

    def _once(self, value: Any) -> Any:
        """The first text or number equal to ``value``. Zeros are left alone, because 0.0 and -0.0 are equal."""
        known = self._known.get(type(value))
        return value if known is None or not value else known.setdefault(value, value)
