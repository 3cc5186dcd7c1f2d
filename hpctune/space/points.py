"""Points: configurations that a user wants to be tried. The rule for them is here, for every searcher.

A point may be nested or have keys such as ``"model/lr"``. Its values are values of the search space; a constant of the
space may be repeated, not changed. What it leaves open is chosen later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from hpctune.errors import SearchSpaceError
from hpctune.space.domain import Categorical, Domain
from hpctune.space.numeric import Integer
from hpctune.space.tree import (
    KeyPath,
    branches,
    grid_values,
    has_unresolved,
    is_grid,
    is_unresolved,
    lookup,
    path_text,
    rebuild,
    walk,
)

_NONE = object()


def read_point(space: Mapping[str, Any], point: Any, where: str) -> dict[str, Any]:
    """What a point sets, as a nested dict. A list that it sets in part has its indices as keys.

    ``where``: what the point is, for messages. Raises SearchSpaceError for a key that the space does not have, a value
    that is not in it, or one other than its constant.
    """
    if not isinstance(point, Mapping):
        raise SearchSpaceError(f"{where} must be a dict of parameters, not {point!r}.")
    read: dict[str, Any] = _read(dict(space), point, (), where)
    return read


def narrowed(space: Any, read: Any) -> Any:
    """The search space with the values of a point, as :func:`read_point` returns it, in the place of its domains."""
    options = options_of(space)
    if options is not None:
        chosen = matching_option(options, read)
        assert chosen is not None
        return narrowed(options[chosen[0]], chosen[1])
    pairs = branches(space)
    if pairs is None:
        return read if isinstance(space, Domain) else space
    given = dict(branches(read) or ())
    return rebuild(space, {key: narrowed(child, given[key]) if key in given else child for key, child in pairs})


def options_of(node: Any) -> list[Any] | None:
    """The values that a choice or a grid axis has; None for every other node."""
    if is_grid(node):
        return grid_values(node)
    return list(node.categories) if isinstance(node, Categorical) else None


def matching_option(options: Sequence[Any], given: Any) -> tuple[int, Any] | None:
    """The number of the option that ``given`` stands for, and what it sets in it; None if it is none of them.

    It must have every constant of the option. Domains inside the option may be left open.
    """
    for number, option in enumerate(options):
        try:
            read = _read(option, given, (), "")
        except SearchSpaceError:
            continue
        if _whole(option, read):
            return number, read
    return None


def _whole(option: Any, read: Any) -> bool:
    """Whether ``read`` has all constants of an option, and anything at all."""
    if branches(option) is None:
        return True
    return all(_has(read, path) for path, leaf in walk(option) if not is_unresolved(leaf)) and bool(read or not option)


def _has(read: Any, path: KeyPath) -> bool:
    try:
        lookup(read, path)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _read(node: Any, given: Any, path: KeyPath, where: str) -> Any:
    options = options_of(node)
    if options is not None:
        chosen = matching_option(options, given)
        if chosen is None:
            raise SearchSpaceError(f"{where} sets '{path_text(path)}' to {given!r}, which is none of {options!r}.")
        return chosen[1]
    if isinstance(node, Domain):
        if not accepts(node, given):
            raise SearchSpaceError(f"{where} sets '{path_text(path)}' to {given!r}, which is not in {node!r}.")
        return node.cast(given)
    if isinstance(node, dict) and isinstance(given, Mapping):
        return {key: _read(node[key], value, (*path, key), where) for key, value in _keyed(node, given, path, where)}
    if type(node) in (list, tuple) and has_unresolved(node):
        return _read_list(node, given, path, where)
    if isinstance(node, dict) or not same(node, given):
        what = f"a dict with {_names(node)}" if isinstance(node, dict) else f"the constant {node!r}"
        raise SearchSpaceError(
            f"{where} sets '{path_text(path)}' to {given!r}, but in the search space it is {what}. "
            "A point can set only what the space leaves open."
        )
    return given


def _read_list(node: Any, given: Any, path: KeyPath, where: str) -> Any:
    if isinstance(given, Mapping):
        keyed = _keyed(dict(enumerate(node)), given, path, where)
        return {key: _read(node[key], value, (*path, key), where) for key, value in keyed}
    if not isinstance(given, (list, tuple)) or len(given) != len(node):
        raise SearchSpaceError(
            f"{where} sets '{path_text(path)}' to {given!r}, but in the search space that is a {type(node).__name__} "
            f"of {len(node)}. Give as many values, or some of them as '{path_text((*path, 0))}'."
        )
    return [
        _read(child, each, (*path, index), where) for index, (child, each) in enumerate(zip(node, given, strict=True))
    ]


def _keyed(node: Mapping[Any, Any], given: Mapping[Any, Any], path: KeyPath, where: str) -> list[tuple[Any, Any]]:
    """The entries of a dict by the keys of ``node``; of a key such as ``"model/lr"`` the rest goes into the value."""
    found: dict[Any, Any] = {}
    for name, value in given.items():
        key, rest = _split(node, name)
        if key is _NONE:
            raise SearchSpaceError(
                f"{where} sets '{path_text((*path, name))}', which is no parameter of the search space. "
                f"It has: {_names(node, path)}."
            )
        new = {rest: value} if rest else value
        before = found.get(key, new)
        if before is not new:
            nested = isinstance(before, Mapping) and isinstance(new, Mapping)
            twice = [(key, each) for each in new if each in before] if nested else [(key,)]
            if twice:
                raise SearchSpaceError(f"{where} sets '{path_text((*path, *twice[0]))}' twice.")
            new = {**before, **new}
        found[key] = new
    return list(found.items())


def _split(node: Mapping[Any, Any], name: Any) -> tuple[Any, str]:
    """The key of ``node`` that ``name`` begins with, and the rest of the name."""
    if name in node:
        return name, ""
    keys = {str(key): key for key in node}
    head, rest = str(name), ""
    while head not in keys:
        head, slash, last = head.rpartition("/")
        if not slash:
            return _NONE, ""
        rest = f"{last}/{rest}" if rest else last
    return keys[head], rest


def _names(node: Any, path: KeyPath = ()) -> str:
    return ", ".join(f"'{path_text((*path, *inner))}'" for inner, _ in walk(dict(node))) or "nothing"


def accepts(domain: Domain, value: Any) -> bool:
    """Whether a value is one of the domain's. A whole number may come as a float, as from a table."""
    if isinstance(domain, Integer) and isinstance(value, Real) and not isinstance(value, bool):
        return float(value).is_integer() and domain.is_valid(domain.cast(value))
    return domain.is_valid(value)


def same(a: Any, b: Any) -> bool:
    """Equal, or the same but for a list in place of a tuple, as a round trip through JSON makes it."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, bool) is not isinstance(b, bool):
        return False
    try:
        return a is b or bool(a == b) or repr(a) == repr(b)
    except ValueError:  # arrays
        return repr(a) == repr(b)
