"""What users say about configurations to try first, and about those that were evaluated elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpctune.errors import UsageError
from hpctune.search.adapters.parameters import Layout
from hpctune.space.points import same
from hpctune.space.randomness import stream

SEED_LIMIT = 2**32
"""numpy's older random numbers, which many libraries use, take seeds below it."""


@dataclass(slots=True)
class Evaluated:
    """A configuration that was evaluated elsewhere, as the user gave it."""

    parameters: dict[str, Any]
    value: Any
    error: bool = False
    pruned: bool = False
    intermediate_values: list[float] | None = None


def matching(points: Iterable[Mapping[str, Any]], recorded: Mapping[str, Any]) -> int | None:
    """The position of the first of ``points`` whose values ``recorded`` has; None if there is none."""
    for number, point in enumerate(points):
        if all(name in recorded and same(recorded[name], value) for name, value in point.items()):
            return number
    return None


def checked_seed(seed: Any) -> int | None:
    """The seed as an int, or None. Raises UsageError if it is none that every library takes."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= int(seed) < SEED_LIMIT:
        raise UsageError(f"A searcher's seed is a whole number from 0 to {SEED_LIMIT - 1}, or None, not {seed!r}.")
    return int(seed)


def checked_points(points: Any) -> list[dict[str, Any]]:
    """Copies of ``points_to_evaluate``. Raises UsageError if it is no list of dicts."""
    if points is None:
        return []
    if isinstance(points, (str, Mapping)) or not isinstance(points, Iterable):
        raise UsageError(f"points_to_evaluate is a list of configurations (dicts), not {points!r}.")
    points = list(points)
    if not all(isinstance(point, Mapping) for point in points):
        raise UsageError(f"points_to_evaluate is a list of configurations (dicts), not {points!r}.")
    return [dict(point) for point in points]


def with_rewards(points: list[dict[str, Any]], rewards: Sequence[Any]) -> list[Evaluated]:
    """The points with their ``evaluated_rewards``. Raises UsageError if they differ in number."""
    if len(points) != len(rewards):
        raise UsageError(
            f"evaluated_rewards has {len(rewards)} entries, and points_to_evaluate {len(points)}. "
            "Give one reward for each point."
        )
    return [Evaluated(point, reward) for point, reward in zip(points, rewards, strict=True)]


def completed(values: dict[str, Any], layout: Layout, seed: int, number: int) -> dict[str, Any]:
    """Return ``values`` of point ``number`` with random ones, which depend on the seed, for what they leave open."""
    values = dict(values)
    while missing := layout.missing(values):
        for parameter in missing:
            rng = stream(seed, number, parameter.name, 0)
            domain = parameter.domain
            values[parameter.name] = int(rng.integers(parameter.options)) if parameter.branching else domain.draw(rng)
    return values
