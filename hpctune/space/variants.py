"""All configurations of a search space, addressed by number.

Configuration number i is a function of (space, seed, i) alone. No state is kept between configurations: trials may
finish in any order. (numpy may change its streams between feature releases, so the same numbers need the same numpy
version.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpctune.common.checks import is_whole
from hpctune.errors import SearchSpaceError
from hpctune.space.domain import Categorical
from hpctune.space.points import narrowed, read_point
from hpctune.space.randomness import as_seed, stream
from hpctune.space.resolve import grid_inside, grid_point, grid_size, resolve
from hpctune.space.tags import experiment_tag
from hpctune.space.tree import (
    KeyPath,
    flatten_dict,
    grid_values,
    has_unresolved,
    is_grid,
    lookup,
    path_text,
    unresolved,
    walk,
)
from hpctune.space.view import SpecView, config_view

if TYPE_CHECKING:
    from numpy.random import Generator


@dataclass(frozen=True, slots=True)
class Variant:
    """One configuration of a search space."""

    index: int
    config: dict[str, Any]
    resolved: dict[KeyPath, Any]
    """What varied, by its path in the search space: the domains and the grid axes."""

    @property
    def evaluated(self) -> dict[str, Any]:
        """What varied, flat: ``{"model/lr": 0.1, "layers/0": 64}``. A chosen dict shows as its entries."""
        return flatten_dict({path_text(path): value for path, value in self.resolved.items()})

    @property
    def tag(self) -> str:
        """Ray Tune's experiment tag, such as ``3_lr=0.01,momentum=0.9``."""
        return experiment_tag(self.index, self.evaluated)


@dataclass(frozen=True, slots=True)
class _Block:
    """Consecutive variants that come from one space: a given point completed, or the samples of the whole space."""

    space: Any
    grid: int  # grid points of that space
    samples: int | None  # how often the grid is repeated; None: endlessly
    varied: tuple[KeyPath, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a configuration is among all: its block, its grid point there, and how often that came before it.

    ``sample``: the number of its sample, counted over all blocks.
    """

    block: int
    point: int
    repetition: int
    sample: int


@dataclass(frozen=True, slots=True)
class Variants:
    """The configurations of a search space; make it with :func:`variants`."""

    seed: int
    constant_grid_search: bool
    blocks: tuple[_Block, ...]
    view: Callable[[Any], SpecView]

    @property
    def total(self) -> int | None:
        """The number of configurations; None if there is no end."""
        total = 0
        for block in self.blocks:
            if block.samples is None:
                return None
            total += block.grid * block.samples
        return total

    def __getitem__(self, index: int) -> Variant:
        """Return configuration number ``index``.

        Raises:
            IndexError: if there are not so many.
            SearchSpaceError: if a value cannot be drawn.
        """
        return self.draw(self.place(index), index)

    def draw(self, place: Place, index: int) -> Variant:
        """Return the configuration at a place, with the random values of number ``index``."""
        block = self.blocks[place.block]
        number = place.sample if self.constant_grid_search else index

        def stream_at(path: KeyPath, nth: int) -> Generator:
            return stream(self.seed, number, path_text(path), nth)

        config = resolve(grid_point(block.space, place.point), stream_at, self.view)
        return Variant(index, config, {path: lookup(config, path) for path in block.varied})

    def __iter__(self) -> Iterator[Variant]:
        index, total = 0, self.total
        while total is None or index < total:
            yield self[index]
            index += 1

    def place(self, index: int) -> Place:
        """Return the place of configuration number ``index``. Raises IndexError if there are not so many."""
        rest, before = index, 0
        for number, block in enumerate(self.blocks) if index >= 0 else ():
            repetition, point = divmod(rest, block.grid)
            if block.samples is None or repetition < block.samples:
                return Place(number, point, repetition, before + repetition)
            rest -= block.grid * block.samples
            before += block.samples
        raise IndexError(f"There is no configuration number {index}; there are {self.total}.")


def variants(
    space: Mapping[str, Any],
    *,
    seed: int,
    points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
    num_samples: int = 1,
    constant_grid_search: bool = False,
    view: Callable[[Any], SpecView] = config_view,
) -> Variants:
    """Return the configurations of ``space``, iterable and addressable by number.

    Args:
        space: Nested dicts and lists of constants, domains and grid axes. A bare function in it is a constant.
        seed: The same seed gives the same configurations; an integer of 0 or more.
        points_to_evaluate: Configurations to try first: see :mod:`hpctune.space.points`. What one leaves open is
            sampled, or tried in full if it is a grid. Each uses up one of ``num_samples``, but all are tried.
        num_samples: How often to repeat the grid with fresh random values; -1: without end.
        constant_grid_search: Keep the random values the same for all grid points of a sample.
        view: Makes the ``spec`` of ``sample_from`` functions out of the configuration.

    Raises:
        SearchSpaceError: if the space, a point or a number is invalid.
    """
    if not isinstance(space, Mapping):
        raise SearchSpaceError(f"A search space is a dict of parameters, not {space!r}.")
    if not is_whole(num_samples) or (num_samples < 1 and num_samples != -1):
        raise SearchSpaceError(f"num_samples must be 1 or more, or -1 for no end, not {num_samples!r}.")
    space = dict(space)
    _check_options(space)
    blocks = [_point_block(space, number, point) for number, point in enumerate(points_to_evaluate or ())]
    samples = None if num_samples == -1 else num_samples - len(blocks)
    if samples is None or samples > 0:
        blocks.append(_Block(space, grid_size(space), samples, tuple(unresolved(space))))
    return Variants(as_seed(seed), constant_grid_search, tuple(blocks), view)


def listed(space: Mapping[str, Any], configurations: Sequence[Mapping[str, Any]]) -> Variants:
    """Return configurations that are given whole, each once. A constant of ``space`` takes the place of their values:
    those that are the same then are one."""
    constants = {name: node for name, node in space.items() if not has_unresolved(node)}
    rows = [{name: constants.get(name, value) for name, value in row.items()} for row in configurations]
    rows = list({repr(row): row for row in rows}.values())
    seen = [(name, repr(value)) for row in rows for name, value in row.items()]
    same = {name for (name, _), times in Counter(seen).items() if times == len(rows)}
    varied = {name for name, _ in seen} - same
    blocks = tuple(_Block(row, 1, 1, tuple((name,) for name in row if name in varied)) for row in rows)
    return Variants(0, False, blocks, config_view)


def _check_options(node: Any, path: KeyPath = (), inside: bool = False) -> None:
    """Raise SearchSpaceError if an option of a choice holds a grid."""
    for inner, leaf in walk(node, path):
        if is_grid(leaf):
            if inside:
                raise SearchSpaceError(grid_inside(path, inner))
            for value in grid_values(leaf):
                _check_options(value, inner)
        elif isinstance(leaf, Categorical):
            for option in leaf.categories:
                _check_options(option, inner, inside=True)


def _point_block(space: dict[str, Any], number: int, point: Mapping[str, Any]) -> _Block:
    fixed = narrowed(space, read_point(space, point, f"points_to_evaluate[{number}]"))
    return _Block(fixed, grid_size(fixed), 1, tuple(unresolved(space)))
