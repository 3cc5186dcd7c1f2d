"""What a trial takes in memory once it is finalized: equal keys, texts, numbers and requests are there once.

A driver keeps every trial to its end, and most of them are over. Their values stay as they are; only how they are held
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
"""Texts, and numbers, that are kept for comparison with those of further trials; then it begins anew."""


class Packed(Mapping[str, Any]):
    """A dict that shares its keys with others. Read-only; equal to the dict that it stands for, and copied and pickled
    as that. Dicts in it are packed as well: who looks at one gets a new dict."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: tuple[Any, ...]) -> None:
        """``places``: by key, the index of its value."""
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
        """Whether keys and values are not just equal, but the very same."""
        return self._places is other._places and all(map(_same, self._values, other._values))


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is Packed and type(other) is Packed and one.same(other))


def opened(value: Any) -> Any:
    """The dict for which a Packed stands; anything else as it is."""
    return dict(value) if type(value) is Packed else value


def reopened(trial: Trial) -> Trial:
    """A trial that was packed, with dicts again: it is to run once more."""
    return changed(trial, config=opened(trial.config), evaluated=opened(trial.evaluated), last=opened(trial.last))


class Packer:
    """Packs the trials of one experiment."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[str, ...], dict[str, int]] = {}
        self._request = Resources()
        self._known: dict[type, dict[Any, Any]] = {str: {}, float: {}, int: {}}

    def pack(self, trial: Trial) -> Trial:
        """The same trial in less memory. What is no plain dict with texts as keys stays as it is."""
        for known in self._known.values():
            if len(known) > REMEMBERED:
                known.clear()
        for own in (trial.trial_id, trial.tag):  # a result states them, too
            self._known[str][own] = own
        if trial.resources != self._request:
            self._request = trial.resources
        error, config = trial.error, self._mapping(trial.config)
        return changed(
            trial,
            config=config,
            evaluated=self._mapping(trial.evaluated, config),
            last=self._mapping(trial.last, config),
            resources=self._request,
            reason=self._once(trial.reason),
            stop=self._once(trial.stop),
            error=error and ErrorInfo(*map(self._once, (error.kind, error.message, error.traceback))),
        )

    def _mapping(self, value: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """``value`` packed; ``like`` (packed) in place of it, or of a dict in it, where there is no difference."""
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
        """An equal text or number of a trial before. (A zero has a sign by which two that are equal differ.)"""
        known = self._known.get(type(value))
        return value if known is None or not value else known.setdefault(value, value)
