"""Whether the best configuration is the best: the same configurations again with fresh seeds, and what that says.

Intervals of means are Student's; the difference of two means is judged by Welch's test (Welch, "The generalization of
Student's problem when several different population variances are involved", Biometrika 34, 1947).
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpctune.common.text import number as shown, table
from hpctune.core.state import ExperimentState
from hpctune.model.progress import stopped_early
from hpctune.model.rows import number
from hpctune.model.trial import Phase, Trial
from hpctune.storage.layout import ExperimentPaths

NAME = "confirm.jsonl"
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A configuration that was run again. ``trial``: the first one with it; ``found``: its value in the search.
    ``values``: those of the runs with fresh seeds that have come to their end; ``asked``: how many there are to be. Of
    runs on different budgets, those on the largest count."""

    trial: Trial
    found: float | None
    values: tuple[float, ...]
    asked: int

    @property
    def mean(self) -> float:
        """The mean of the fresh runs; NaN without any."""
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def half_width(self) -> float:
        """Half of the interval in which the true mean lies with LEVEL; NaN with fewer than two runs."""
        count = len(self.values)
        if count < 2:
            return math.nan
        return t_quantile((1 + LEVEL) / 2, count - 1) * statistics.stdev(self.values) / math.sqrt(count)


def note(paths: ExperimentPaths, command_id: str, trial_id: str) -> None:
    """Remember that a command runs the configuration of a trial again."""
    with (paths.root / NAME).open("a") as file:
        file.write(json.dumps({"command": command_id, "trial": trial_id}) + "\n")


def confirmed(paths: ExperimentPaths, state: ExperimentState, metric: str, mode: str) -> list[Confirmed]:
    """The configurations that were run again, the best mean first."""
    commands: dict[str, list[str]] = {}
    try:
        for line in (paths.root / NAME).read_text().splitlines():
            noted = json.loads(line)
            commands.setdefault(noted["trial"], []).append(noted["command"])
    except FileNotFoundError:
        return []
    by_command: dict[str, list[str]] = {}
    for trial_id, command in state.added.items():
        by_command.setdefault(command, []).append(trial_id)
    made = []
    for trial_id, ids in commands.items():
        if trial_id not in state.trials:
            continue
        fresh = [state.trials[name] for command in ids for name in by_command.get(command, [])]
        furthest = max((trial.until or 0.0 for trial in fresh), default=0.0)
        fresh = [trial for trial in fresh if (trial.until or 0.0) == furthest]
        done = [trial for trial in fresh if trial.phase is Phase.TERMINATED and not stopped_early(trial)]
        values = [number(trial.last, metric) for trial in done]
        first = state.trials[trial_id]
        good = tuple(value for value in values if value is not None and not math.isnan(value))
        made.append(Confirmed(first, number(first.last, metric), good, len(fresh)))
    sign = -1.0 if mode == "max" else 1.0
    return sorted(made, key=lambda one: (math.isnan(one.mean), sign * one.mean))


def verdict(made: Sequence[Confirmed], mode: str) -> str:
    """What the fresh runs say of the first of ``made``, in a sentence."""
    ready = [one for one in made if len(one.values) >= 2]
    if len(ready) < 2 or ready[0] is not made[0]:
        return "Too few runs have ended to tell."
    first = ready[0]
    margins = {other.trial.trial_id: _margin(first, other, mode) for other in ready[1:]}
    if all(value == one.values[0] for one in ready for value in one.values):
        return (
            f"{first.trial.trial_id} is the best. All runs of a configuration gave the same value, so the seeds change "
            "nothing: does the program use them?"
        )
    close = [name for name, (difference, width) in margins.items() if difference - width <= 0]
    if not close:
        return f"{first.trial.trial_id} is the best: better than each other one, with {LEVEL:.0%} confidence each."
    return (
        f"{first.trial.trial_id} has the best mean, but it is not shown that it is better than {', '.join(close)}. "
        "More seeds narrow the intervals."
    )


HEADER = ("trial", "in the search", "again", "mean {metric}", f"{LEVEL:.0%}")


def cells(made: Sequence[Confirmed]) -> list[list[str]]:
    """A table of ``made`` under HEADER."""
    return [
        [
            one.trial.trial_id,
            "-" if one.found is None else shown(one.found),
            f"{len(one.values)} of {one.asked}",
            "-" if math.isnan(one.mean) else shown(one.mean),
            "-" if math.isnan(one.half_width) else f"± {shown(one.half_width)}",
        ]
        for one in made
    ]


def lines(made: Sequence[Confirmed], metric: str, mode: str) -> list[str]:
    """The table and the verdict as text; nothing if nothing was run again."""
    if not made:
        return []
    return [*table([word.format(metric=metric) for word in HEADER], cells(made)), verdict(made, mode)]


def _margin(first: Confirmed, other: Confirmed, mode: str) -> tuple[float, float]:
    """By how much ``first`` is better, and half of the interval of that."""
    sign = 1.0 if mode == "max" else -1.0
    parts = [statistics.variance(one.values) / len(one.values) for one in (first, other)]
    total = sum(parts)
    difference = sign * (first.mean - other.mean)
    if total == 0:
        return difference, 0.0
    weights = [part**2 / (len(one.values) - 1) for part, one in zip(parts, (first, other), strict=True)]
    return difference, t_quantile((1 + LEVEL) / 2, total**2 / sum(weights)) * math.sqrt(total)


def t_quantile(share: float, freedom: float) -> float:
    """The quantile of Student's distribution with ``freedom`` degrees of freedom, for shares above a half."""
    low, high = 0.0, 1e3
    while _t_share(high, freedom) < share:
        high *= 10
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_share(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def _t_share(value: float, freedom: float) -> float:
    """The share of Student's distribution below ``value``, by Simpson's rule in the angle atan(t / sqrt(freedom))."""
    top = math.atan(value / math.sqrt(freedom))
    steps = 400
    heights: list[float] = [math.cos(top * n / steps) ** (freedom - 1) for n in range(steps + 1)]
    area = (heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2])) * top / steps / 3
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    return float(0.5 + scale * area)


def same_budget(trial: Trial) -> float:
    """Up to which value of the scheduler's time a trial is to run again: as far as it came if it was told to stop, else
    to the scheduler's end for all; 0: to its own end."""
    return (trial.ends_at_value if trial.stop is None else number(trial.last, trial.milestone_attr)) or 0.0


def with_seed(config: Mapping[str, object], name: str, seed: int) -> dict[str, object]:
    """The configuration with a fresh seed, if it has one."""
    return {**config, name: seed} if name in config else dict(config)
