"""Ray Tune's module path for the generation of variants; the work is done in :mod:`hpctune.space`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hpctune.errors import SearchSpaceError
from hpctune.space import format_vars, grid_search, variants
from hpctune.space.domain import Domain
from hpctune.space.randomness import as_seed
from hpctune.space.tree import KeyPath, grids, has_unresolved, is_grid, walk
from hpctune.space.view import SpecView, config_view

if TYPE_CHECKING:
    from hpctune.space.randomness import RandomSource

RecursiveDependencyError = SearchSpaceError
"""The name in Ray Tune: values that depend on each other."""

__all__ = [
    "RecursiveDependencyError",
    "assign_value",
    "format_vars",
    "generate_variants",
    "grid_search",
    "has_unresolved_values",
    "parse_spec_vars",
]


def generate_variants(
    unresolved_spec: Mapping[str, Any],
    constant_grid_search: bool = False,
    random_state: RandomSource = None,
) -> Iterator[tuple[dict[KeyPath, Any], dict[str, Any]]]:
    """Yield (what varied by its path, resolved spec) once for every grid point of a spec.

    Args:
        unresolved_spec: Either a search space, or a dict with a search space below the key "config".
        constant_grid_search: Keep random values the same for all grid points.
        random_state: A seed or a source of one; None: other values at every call.

    Raises:
        SearchSpaceError: if the spec is invalid.
    """
    nested = isinstance(unresolved_spec.get("config"), Mapping)
    for variant in variants(
        unresolved_spec,
        seed=as_seed(random_state),
        constant_grid_search=constant_grid_search,
        view=_whole_spec if nested else config_view,
    ):
        yield variant.resolved, variant.config


def _whole_spec(spec: Mapping[str, Any]) -> SpecView:
    return SpecView(spec, ())


def parse_spec_vars(
    spec: Any,
) -> tuple[list[tuple[KeyPath, Any]], list[tuple[KeyPath, Domain]], list[tuple[KeyPath, list[Any]]]]:
    """Return the constants, the domains and the grid axes (their values) of ``spec``, each as (path, value) pairs."""
    constants, sampled = [], []
    for path, leaf in walk(spec):
        if isinstance(leaf, Domain) and not is_grid(leaf):
            sampled.append((path, leaf))
        elif not is_grid(leaf):
            constants.append((path, leaf))
    return constants, sampled, list(grids(spec).items())


def has_unresolved_values(spec: Any) -> bool:
    """Return whether ``spec`` holds a domain or a grid axis."""
    return has_unresolved(spec)


def assign_value(spec: Any, path: KeyPath, value: Any) -> None:
    """Put ``value`` at ``path`` of nested dicts and lists."""
    *parents, last = path
    for key in parents:
        spec = spec[key]
    spec[last] = value
