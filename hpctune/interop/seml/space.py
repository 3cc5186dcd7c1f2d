"""The search space of a SEML file, for a search in place of its grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.errors import UsageError
from hpctune.interop.seml.blocks import Configuration
from hpctune.interop.seml.rows import grid_values
from hpctune.space import functions


def space_of(configurations: Sequence[Configuration]) -> dict[str, Any]:
    """The values and ranges of a file's parameters. Raises UsageError if they are not those of one search.

    ``uniform`` and ``loguniform`` are whole ranges, also under ``grid``.
    """
    first, *others = configurations
    if others:
        names = ", ".join(each.name for each in configurations)
        raise UsageError(
            f"The file has the sub-configurations {names}, and a search is in one space. Leave --search-alg and "
            f"--num-samples out, so that all of their configurations are tried, or make a file of one of them."
        )
    zipped = [name for name, stated in first.grid.items() if stated.get("zip_id") is not None]
    if zipped:
        raise UsageError(
            f"The parameters {', '.join(zipped)} have a zip_id, so they vary together, and a search varies each alone. "
            f"Leave --search-alg and --num-samples out."
        )
    drawn = {name: _domain(name, stated) for name, stated in {**first.grid, **first.random}.items()}
    return {**drawn, **first.fixed}


def _domain(name: str, stated: Mapping[str, Any]) -> Any:
    kind = stated["type"]
    if kind in ("choice", "range"):
        values = grid_values(stated)
        if any("${" in value for value in values if isinstance(value, str)):
            raise UsageError(
                f"The parameter {name!r} has options with ${{...}}, which a search cannot fill in. Leave --search-alg "
                f"and --num-samples out."
            )
        return values[0] if len(values) == 1 else functions.choice(values)
    low, high = stated["min"], stated["max"]
    if kind.startswith("randint"):
        return functions.randint(int(low), int(high))
    if low == high:
        return low
    return functions.loguniform(low, high) if kind == "loguniform" else functions.uniform(low, high)
