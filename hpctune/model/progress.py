"""How far a search is: how many trials there will be, and how the finished ones ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hpctune.model.rows import number
from hpctune.model.trial import Phase, Trial

ALL_DONE = "all trials are done"
"""Why an experiment ended that was not stopped."""


def stopped_early(trial: Trial) -> bool:
    """Whether a finished trial was told to stop before it had come to the end that its scheduler gives to all."""
    if trial.phase is not Phase.TERMINATED or trial.stop is None:
        return False
    reached = number(trial.last, trial.milestone_attr)
    return trial.ends_at_value is None or reached is None or reached < trial.ends_at_value


def expected_trials(origin: Mapping[str, Any], num_samples: int, suggested: int, added: int) -> int | None:
    """How many trials there will be; None if there is no end.

    ``origin``: that of the experiment's definition. ``suggested``, ``added``: how many the searcher has suggested, and
    users have added, so far.
    """
    if num_samples < 0:
        return None
    grid = _grid_size(origin.get("search_space")) if origin.get("searcher") == "BasicVariantGenerator" else 1
    return max(num_samples * grid, suggested) + added


def _grid_size(space: Any) -> int:
    """The product of the lengths of the grids in a described search space."""
    if isinstance(space, Mapping):
        if space.get("type") == "grid_search" and isinstance(space.get("values"), list):
            return max(1, len(space["values"]))
        return _product(space.values())
    return _product(space) if isinstance(space, list) else 1


def _product(children: Iterable[Any]) -> int:
    size = 1
    for child in children:
        size *= _grid_size(child)
    return size
