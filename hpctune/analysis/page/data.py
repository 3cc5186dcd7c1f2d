"""What the page knows of an experiment, as JSON: the numbers that ``analysis.pictures`` computes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from hpctune.analysis import confirmed
from hpctune.analysis.cost.accounts import Accounts
from hpctune.analysis.cost.ledger import ledger_from
from hpctune.analysis.followed import FollowedExperiment, Reading
from hpctune.analysis.listing import experiment_status
from hpctune.analysis.page.cost import cost, lanes_of
from hpctune.analysis.pictures.axes import Axis, axes_of, text_of
from hpctune.analysis.pictures.curves import best_of, history, learning_curves
from hpctune.analysis.pictures.importance import MIN_TRIALS, importance
from hpctune.analysis.pictures.parameters import surface
from hpctune.analysis.pictures.pareto import front
from hpctune.analysis.pictures.trials import PlotData, PlotTrial, State, of_view
from hpctune.common.text import clean, shorten
from hpctune.model import failures
from hpctune.model.ranking import Objectives, pareto_front
from hpctune.output.display.words import amounts, state_counts
from hpctune.storage.reader import ExperimentView

MAX_METRICS = 12
MAX_FRONT_METRICS = 5
MAX_SURFACE_PARAMS = 6
MAX_CURVE_POINTS = 200_000
"""Of all learning curves together: with more, each has fewer, and not less than MIN_CURVE_POINTS."""
MIN_CURVE_POINTS = 12
SURFACE_SIZE = 24
MAX_ERROR = 4000
"""Characters of a failure's text."""
_STATES = list(State)


def experiment_data(
    path: str | Path, metric: str | None = None, mode: str | None = None, accounts: Accounts | None = None
) -> dict[str, Any]:
    """Everything that the page shows of the experiment in ``path``. ``accounts``: of its jobs; None: asks Slurm.

    Raises MetricError for a metric without results.
    """
    return data_of(FollowedExperiment(path).read(), metric, mode, accounts)


def data_of(
    read: Reading, metric: str | None = None, mode: str | None = None, accounts: Accounts | None = None
) -> dict[str, Any]:
    """The same of an experiment that was read already."""
    view = read.view
    data = of_view(view)
    if metric is not None or data.metric is not None:
        metric = data.checked_metric(metric, "The page")
    else:
        metric = next(iter(data.own_metrics), None)
    how = data.known_mode(mode, metric)
    goals = dict(view.state.spec.objectives)
    first = dict.fromkeys(
        [*([metric] if metric is not None else []), *(name for name in goals if name in data.own_metrics)]
    )
    metrics = [*first, *(name for name in data.own_metrics if name not in first)][:MAX_METRICS]
    return (
        _about(view, metric, how)
        | _trials(data, metrics)
        | _pictures(data, metric, how or "min", metrics)
        | {
            "front": _on_front(data),
            "failures": _failures(data),
            "lanes": lanes_of(read.lanes, data),
            "cost": cost(ledger_from(read, accounts)),
            "confirmed": _confirmed(view, tuple(goals.items()) if len(goals) > 1 else ((metric or "", how or "min"),)),
        }
    )


def _on_front(data: PlotData) -> list[int]:
    """The trials on the Pareto front of the metrics that the experiment optimizes; none, if it has one metric."""
    on_front = pareto_front((t.value for t in data.trials), data.objectives) if len(data.objectives) > 1 else []
    number = {t.label: n for n, t in enumerate(data.trials)}
    return [number[trial.trial_id] for trial in on_front]


def _confirmed(view: ExperimentView, goals: Objectives) -> list[dict[str, Any]]:
    """For each metric: the table of what was run again with fresh seeds, and what it says."""
    made = [(name, mode, confirmed.confirmed(view.paths, view.state, name, mode)) for name, mode in goals]
    return [
        {
            "head": [word.format(metric=name) for word in confirmed.HEADER],
            "rows": confirmed.cells(found),
            "verdict": confirmed.verdict(found, mode),
        }
        for name, mode, found in made
        if found
    ]


def _about(view: ExperimentView, metric: str | None, mode: str | None) -> dict[str, Any]:
    state, spec = view.state, view.state.spec
    return {
        "name": clean(view.paths.root.name),
        "path": str(view.paths.root),
        "status": experiment_status(state),
        "reason": clean(state.ended or (state.stopping.reason if state.stopping is not None else "")),
        "counts": amounts(state_counts(state.trials.values(), state.phases)),
        "wanted": state.num_samples if state.ended is None and len(state.trials) < state.num_samples else -1,
        "created": spec.created_at,
        "updated": state.last_at or spec.created_at,
        "metric": metric,
        "mode": mode or "min",
        "modes": dict(spec.objectives),
        "assumed": metric is not None and mode is None,
    }


def _trials(data: PlotData, metrics: Sequence[str]) -> dict[str, Any]:
    axes = axes_of(data)
    varied = {a.name for a in axes}
    everywhere = {n: v for t in data.trials for n, v in t.params.items() if n not in varied}
    return {
        "states": [s.value for s in State],
        "trials": {
            "id": [t.label for t in data.trials],
            "state": [_STATES.index(t.state) for t in data.trials],
            "iteration": [t.value.last_iteration or None for t in data.trials],
            "seconds": [_seconds(t) for t in data.trials],
            "reason": [shorten(clean(_reason(t)), 200) for t in data.trials],
        },
        "metrics": [{"name": m, "values": [rounded(t.last(m)) for t in data.trials]} for m in metrics],
        "params": [_param(a, data) for a in axes],
        "constants": [[name, text_of(value)] for name, value in everywhere.items()],
    }


def _seconds(trial: PlotTrial) -> float | None:
    begun = trial.value.started_at
    return None if begun is None else rounded(max(trial.at - begun, 0.0))


def _reason(trial: PlotTrial) -> str:
    """Why it ended, or what it waits for."""
    if trial.value.error is not None or trial.state is State.FAILED:
        return failures.brief(trial.value)
    return (trial.value.stop or "") if trial.state is State.STOPPED else trial.value.reason


def _param(a: Axis, data: PlotData) -> dict[str, Any]:
    """An axis; ``odd``: the text of values that have no place on it, by trial."""
    odd = {
        str(n): text_of(t.params[a.name])
        for n, t in enumerate(data.trials)
        if a.places[n] is None and a.name in t.params
    }
    places = [rounded(p) if a.categories is None else p for p in a.places]
    categories = list(a.categories) if a.categories is not None else None
    return {"name": a.name, "log": a.log, "categories": categories, "places": places, "odd": odd}


def _pictures(data: PlotData, metric: str | None, mode: str, metrics: Sequence[str]) -> dict[str, Any]:
    if metric is None:
        return {"best": None, "history": [], "curves": [], "importance": [], "surfaces": [], "fronts": {}}
    number = {t.label: n for n, t in enumerate(data.trials)}
    best = best_of(data, metric, mode)
    shares = importance(data, metric).shares
    most = max(MAX_CURVE_POINTS // max(len(data.trials), 1), MIN_CURVE_POINTS)
    return {
        "best": _best(best, metric, number) if best is not None else None,
        "history": [
            [number[p.trial], rounded(p.x), rounded(p.value), rounded(p.best)]
            for p in history(data, metric, mode, "time").points
        ],
        "curves": [_curve(number[c.trial], c.points) for c in learning_curves(data, metric, mode, most=most).curves],
        "importance": [[name, rounded(share)] for name, share in shares],
        "importance_needs": MIN_TRIALS,
        "surfaces": _surfaces(data, metric, [name for name, _ in shares[:MAX_SURFACE_PARAMS]]),
        "fronts": _fronts(data, metrics[:MAX_FRONT_METRICS]),
    }


def _best(trial: PlotTrial, metric: str, number: Mapping[str, int]) -> dict[str, Any]:
    saved = trial.value.newest_checkpoint
    return {
        "trial": number[trial.label],
        "value": trial.last(metric),
        "config": [[name, text_of(value)] for name, value in trial.params.items()],
        "directory": trial.value.dirname,
        "checkpoint": saved.name if saved is not None else None,
    }


def _curve(trial: int, points: Sequence[tuple[float, float]]) -> list[Any]:
    """A curve as its trial, its values, and its iterations, which are left out if they are 1, 2, 3, ..."""
    steps = [x for x, _ in points]
    plain = steps == list(range(1, len(steps) + 1))
    return [trial, [rounded(y) for _, y in points], *([] if plain else [[rounded(x) for x in steps]])]


def _surfaces(data: PlotData, metric: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """The surface over each two of the parameters that matter most."""
    made = []
    for x, y in combinations(names, 2):
        found = surface(data, x, y, metric, SURFACE_SIZE)
        if len(found.values) > 2:
            grid = [rounded(value) for row in found.grid for value in row]
            ends = [[rounded(a.low), rounded(a.high)] for a in (found.x, found.y)]
            made.append({"x": x, "y": y, "size": SURFACE_SIZE, "grid": grid, "ends": ends})
    return made


def _fronts(data: PlotData, metrics: Sequence[str]) -> dict[str, list[int]]:
    """The Pareto front of each two metrics, for each combination of modes, by "0 min 1 max"."""
    made = {}
    for a, b in combinations(range(len(metrics)), 2):
        pairs = [(t.last(metrics[a]), t.last(metrics[b])) for t in data.trials]
        found = [(n, (x, y)) for n, (x, y) in enumerate(pairs) if x is not None and y is not None]
        for first in ("min", "max"):
            for second in ("min", "max"):
                chosen = front([point for _, point in found], [first, second])
                made[f"{a} {first} {b} {second}"] = [found[n][0] for n in chosen]
    return made


def _failures(data: PlotData) -> list[dict[str, Any]]:
    number = {t.label: n for n, t in enumerate(data.trials)}
    groups = failures.grouped(t.value for t in data.trials if t.state is State.FAILED)
    return [
        {
            "brief": shorten(clean(failures.brief(group[0])), 300),
            "text": _traceback(group[0].error),
            "trials": [number[t.trial_id] for t in group],
        }
        for group in groups
    ]


def _traceback(error: Any) -> str:
    text = "" if error is None else error.traceback.strip() or str(error)
    return text if len(text) <= MAX_ERROR else f"...{text[-MAX_ERROR:]}"


def rounded(value: float | None) -> float | int | None:
    """Six significant digits: enough for eyes, and short. None for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
