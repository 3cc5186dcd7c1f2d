"""Search spaces as trees: dicts, lists and tuples are branches, everything else is a leaf.

``{"grid_search": [...]}`` is a leaf as well. A path is the tuple of keys and indices that leads to a leaf; as text it
is written ``model/layers/0``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from hpctune.errors import SearchSpaceError
from hpctune.space.domain import Domain, value_list

KeyPath: TypeAlias = tuple[Any, ...]

GRID_KEY = "grid_search"


def is_grid(node: Any) -> bool:
    """Return whether ``node`` is a grid axis: what ``grid_search`` returns, or a domain with the Grid sampler."""
    if isinstance(node, Domain):
        return node.is_grid()
    return isinstance(node, dict) and len(node) == 1 and GRID_KEY in node


def grid_values(node: Any) -> list[Any]:
    """Return the values of a grid axis. Raises SearchSpaceError if it has none or they are no list."""
    return value_list(node if isinstance(node, Domain) else node[GRID_KEY])


def is_unresolved(node: Any) -> bool:
    """Return whether this node stands for a value still to be chosen."""
    return isinstance(node, Domain) or is_grid(node)


def branches(node: Any) -> list[tuple[Any, Any]] | None:
    """Return the (key, child) pairs of a branch; None for a leaf."""
    if isinstance(node, dict) and not is_grid(node):
        return list(node.items())
    if type(node) in (list, tuple):
        return list(enumerate(node))
    return None


def rebuild(node: Any, children: Mapping[Any, Any]) -> Any:
    """Return a new branch like ``node`` with these children, in the order of ``node``."""
    if isinstance(node, dict):
        return {key: children[key] for key in node}
    return type(node)(children[index] for index in range(len(node)))


def walk(space: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield (path, leaf) for every leaf of ``space``, in the order it is written."""
    pairs = branches(space)
    if pairs is None:
        yield path, space
        return
    for key, child in pairs:
        yield from walk(child, (*path, key))


def map_leaves(space: Any, change: Callable[[KeyPath, Any], Any], path: KeyPath = ()) -> Any:
    """Return a copy of ``space`` in which every leaf is replaced by ``change(path, leaf)``."""
    pairs = branches(space)
    if pairs is None:
        return change(path, space)
    return rebuild(space, {key: map_leaves(child, change, (*path, key)) for key, child in pairs})


def fill(space: Any, values: Mapping[KeyPath, Any]) -> Any:
    """Return a copy of ``space`` with these values at these leaves."""
    return map_leaves(space, lambda path, leaf: values.get(path, leaf))


def unresolved(space: Any) -> dict[KeyPath, Any]:
    """Return every leaf whose value is still to be chosen, domains and grid axes, by path."""
    return {path: leaf for path, leaf in walk(space) if is_unresolved(leaf)}


def domains(space: Any) -> dict[KeyPath, Domain]:
    """Return every domain of ``space`` by path. Searchers convert these to their own format."""
    return {path: leaf for path, leaf in walk(space) if isinstance(leaf, Domain)}


def grids(space: Any) -> dict[KeyPath, list[Any]]:
    """Return the values of every grid axis of ``space`` by path."""
    return {path: grid_values(leaf) for path, leaf in walk(space) if is_grid(leaf)}


def has_unresolved(space: Any) -> bool:
    """Return whether ``space`` contains a domain or a grid axis."""
    return any(is_unresolved(leaf) for _, leaf in walk(space))


def lookup(space: Any, path: KeyPath) -> Any:
    """Return the node at ``path``. Raises KeyError or IndexError if there is none."""
    for key in path:
        space = space[key]
    return space


def path_text(path: KeyPath, delimiter: str = "/") -> str:
    """Return a path as text: ``("model", "layers", 0)`` is ``model/layers/0``."""
    return delimiter.join(map(str, path))


def flatten_dict(
    nested: Mapping[str, Any],
    delimiter: str = "/",
    prevent_delimiter: bool = False,
    flatten_list: bool = False,
) -> dict[str, Any]:
    """Return ``nested`` with one level of keys: ``{"a": {"b": 1}}`` becomes ``{"a/b": 1}``.

    Args:
        nested: The nested dict. Empty dicts in it stay as they are.
        delimiter: What joins the keys.
        prevent_delimiter: Raise ValueError if a key contains the delimiter, since it could not be taken apart again.
        flatten_list: Treat lists and tuples like dicts with the keys 0, 1, ...
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if prevent_delimiter and delimiter in str(key):
            raise ValueError(f"The key {key!r} contains {delimiter!r}, which separates keys. Rename it.")
        if flatten_list and isinstance(value, (list, tuple)) and value:
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, Mapping) and value:
            inner = flatten_dict(value, delimiter, prevent_delimiter, flatten_list)
            flat.update({f"{key}{delimiter}{subkey}": item for subkey, item in inner.items()})
        else:
            flat[str(key)] = value
    return flat


def unflatten_dict(flat: Mapping[str, Any], delimiter: str = "/") -> dict[str, Any]:
    """Return the nested dict of a flat one: the reverse of :func:`flatten_dict` (lists come back as dicts).

    Raises:
        SearchSpaceError: if one key is both a value and the beginning of others.
    """
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = str(key).split(delimiter)
        target: Any = nested
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise SearchSpaceError(f"The key '{key}' lies below '{parent}', which already has a value.")
        if last in target:
            raise SearchSpaceError(f"The key '{key}' occurs twice, or is also the beginning of another key.")
        target[last] = value
    return nested
