"""Putting other values into a search space, by path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hpctune.common.text import nearest
from hpctune.errors import UsageError
from hpctune.space.tree import GRID_KEY, branches, path_text

_SEPARATORS = re.compile(r"[./]")


def replace_values(space: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the search space with ``values`` (by "a/b" or "a.b") in place of what it has there.

    A number in a path is an index if the space has a list. Raises UsageError for a key that the space does not
    have; it names the nearest.
    """
    changed: Any = dict(space)
    for key, value in values.items():
        path = (key,) if key in changed else tuple(_SEPARATORS.split(key))
        changed = _replaced(changed, path, value, key, space)
    return dict(changed)


def _replaced(node: Any, path: tuple[str, ...], value: Any, key: str, space: Mapping[str, Any]) -> Any:
    if not path:
        return value
    children = {str(name): (name, child) for name, child in branches(node) or ()}
    if path[0] not in children:
        raise UsageError(_unknown(key, space))
    name, child = children[path[0]]
    new = _replaced(child, path[1:], value, key, space)
    if isinstance(node, dict):
        return {**node, name: new}
    return type(node)(new if index == name else item for index, item in enumerate(node))


def _unknown(key: str, space: Mapping[str, Any]) -> str:
    known = sorted(_keys(space))
    wanted = key.replace(".", "/")
    return f"The search space has no {key!r}. {nearest(wanted, known)}It has: {', '.join(known) or 'nothing'}."


def _keys(node: Any, path: tuple[Any, ...] = ()) -> Iterator[str]:
    """Every path of a search space, inner ones included."""
    for name, child in branches(node) or ():
        if name != GRID_KEY:
            yield path_text((*path, name))
            yield from _keys(child, (*path, name))
