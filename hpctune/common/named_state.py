"""Pickles of frozen dataclasses with slots by the names of their fields, so that fields can be added and moved.

Python's own way is by position. A class takes both functions into its body::

    __getstate__ = named_state
    __setstate__ = take_state
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any


def named_state(self: Any) -> dict[str, Any]:
    """The values of the fields by their names."""
    return {f.name: getattr(self, f.name) for f in fields(self)}


def take_state(self: Any, state: Mapping[str, Any] | Sequence[Any]) -> None:
    """Take these values, and the defaults for fields that the pickle does not have.

    A sequence comes from a version that pickled by position: its order is ``_POSITIONS`` of the class, or that of the
    fields.
    """
    names = [f.name for f in fields(self)]
    known = state if isinstance(state, Mapping) else dict(zip(getattr(self, "_POSITIONS", names), state, strict=False))
    for field in fields(self):
        if field.name in known:
            value = known[field.name]
        elif field.default_factory is not MISSING:
            value = field.default_factory()
        else:
            value = field.default
        object.__setattr__(self, field.name, value)
