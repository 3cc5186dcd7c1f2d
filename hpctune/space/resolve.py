"""Choosing a value for everything in a search space that is still open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from hpctune.errors import SearchSpaceError
from hpctune.space.domain import Domain
from hpctune.space.function import Function
from hpctune.space.tree import (
    KeyPath,
    branches,
    domains,
    fill,
    grid_values,
    grids,
    is_grid,
    path_text,
    rebuild,
)
from hpctune.space.view import SpecView, UnresolvedReference, config_view, plain

if TYPE_CHECKING:
    from numpy.random import Generator

_MAX_DRAWS = 20
"""How often one place may draw a value that must be drawn from again, such as a choice among choices."""


def grid_size(node: Any) -> int:
    """Return the number of grid points of a space: the product of its axes. A grid value may hold more axes."""
    if is_grid(node):
        return sum(grid_size(value) for value in grid_values(node))
    return prod(grid_size(child) for _, child in branches(node) or ())


def grid_point(node: Any, number: int) -> Any:
    """Return ``node`` with every grid axis fixed to its value at grid point ``number`` (from 0).

    Axes are numbered in the order of their keys, whatever order the dict has; the first one changes fastest.
    """
    if is_grid(node):
        for value in grid_values(node):
            size = grid_size(value)
            if number < size:
                return grid_point(value, number)
            number -= size
        raise IndexError(number)
    pairs = branches(node)
    if pairs is None:
        return node
    if isinstance(node, dict):
        pairs.sort(key=lambda pair: str(pair[0]))
    children = {}
    for key, child in pairs:
        number, place = divmod(number, grid_size(child))
        children[key] = grid_point(child, place)
    return rebuild(node, children)


def resolve(
    tree: Any,
    stream: Callable[[KeyPath, int], Generator],
    view: Callable[[Any], SpecView] = config_view,
) -> Any:
    """Return ``tree`` with a value drawn for every domain. The result does not depend on the order of the keys.

    Domains are drawn in rounds. In each round everything is drawn that needs only values of earlier rounds, so that
    ``sample_from`` functions may read any other value, sampled or not, as long as they do not wait for each other.

    Args:
        tree: A search space without grid axes.
        stream: Gives the random numbers for the n-th draw at a path.
        view: Makes the ``spec`` that functions are called with.

    Raises:
        SearchSpaceError: if functions wait for each other, a function fails, or a value drawn holds a grid.
    """
    draws: Counter[KeyPath] = Counter()
    while pending := domains(tree):
        spec, chosen, waiting = view(tree), {}, {}
        for path, domain in pending.items():
            try:
                chosen[path] = _draw(domain, path, stream(path, draws[path]), spec)
            except UnresolvedReference as reference:
                waiting[path] = reference.path
        if not chosen:
            raise SearchSpaceError(_cycle_message(waiting))
        for path, value in chosen.items():
            draws[path] += 1
            _check_drawn(path, value, draws[path])
        tree = fill(tree, chosen)
    return tree


def _draw(domain: Domain, path: KeyPath, rng: Generator, spec: SpecView) -> Any:
    if not isinstance(domain, Function):
        return plain(domain.draw(rng))
    try:
        return plain(domain.call(rng, spec))
    except UnresolvedReference:
        raise
    except Exception as error:
        raise SearchSpaceError(
            f"The sample_from function of '{path_text(path)}' failed with {type(error).__name__}: {error}. "
            "It may read every value of the search space, as spec.config.<key>."
        ) from error


def _check_drawn(path: KeyPath, value: Any, draws: int) -> None:
    inner = next(iter(grids(value)), None)
    if inner is not None:
        raise SearchSpaceError(grid_inside(path, (*path, *inner)))
    if draws >= _MAX_DRAWS:
        raise SearchSpaceError(
            f"'{path_text(path)}' drew yet another domain {draws} times in a row. "
            "A sample_from function must return a value in the end."
        )


def grid_inside(path: KeyPath, grid: KeyPath) -> str:
    """What is wrong with a grid, at its path, inside a value that is drawn for ``path``."""
    return (
        f"A value of '{path_text(path)}' holds a grid_search (at '{path_text(grid)}'). grid_search cannot stand inside "
        "choice or sample_from, as the number of trials would depend on chance. Use choice there instead."
    )


def _cycle_message(waiting: Mapping[KeyPath, KeyPath]) -> str:
    needs = ", ".join(f"'{path_text(path)}' needs '{path_text(other)}'" for path, other in waiting.items())
    return (
        f"These sample_from values wait for each other and can never be computed: {needs}. "
        "Make at least one of them independent of the others."
    )
