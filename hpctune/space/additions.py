"""Configurations that a user adds to a search that is under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpctune.errors import UsageError
from hpctune.space.replace import replace_values
from hpctune.space.tree import flatten_dict, lookup, path_text, unresolved
from hpctune.space.variants import variants


def additions(
    space: Mapping[str, Any],
    values: Mapping[str, Any],
    *,
    seed: int,
    num_samples: int = 1,
    like: Mapping[str, Any] | None = None,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield (config, what varies in it, flat) of each new trial.

    Args:
        space: The search space of the experiment.
        values: What the new trials have in place of it, by "a/b" or "a.b": values, domains or grids. They need not be
            among those that the space allows.
        seed: What the space leaves open is sampled with it.
        num_samples: How often.
        like: A configuration that holds what ``values`` does not set, in place of the space.

    Raises:
        UsageError: if a parameter is in neither the space nor ``like``.
        SearchSpaceError: if a value cannot be drawn.
    """
    varied = unresolved(space)
    base = space if like is None else like
    # A searcher may have a space of its own, and a scheduler may add parameters: then only ``like`` has them.
    full = replace_values(base, values)
    drawn = variants(full, seed=seed, num_samples=num_samples)
    if drawn.total is None:
        raise UsageError("num_samples must be the number of trials to add.")
    given = {key.replace(".", "/") if key not in full else key for key in values}
    for variant in drawn:
        flat = flatten_dict(variant.config)
        shown = {path_text(path): _at(variant.config, path) for path in varied}
        shown = flatten_dict({key: value for key, value in shown.items() if value is not _ABSENT})
        named = {key: flat[key] for key in flat if key not in shown and any(_below(key, name) for name in given)}
        yield variant.config, {**shown, **named, **variant.evaluated}


_ABSENT = object()


def _at(config: Mapping[str, Any], path: tuple[Any, ...]) -> Any:
    try:
        return lookup(config, path)
    except (KeyError, IndexError, TypeError):
        return _ABSENT


def _below(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}/")
