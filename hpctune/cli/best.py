"""``hpctune best``: the best trials of an experiment, by any metric that was reported."""

from __future__ import annotations

import math
import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from hpctune.cli import find
from hpctune.common import urls
from hpctune.common.checks import check_mode
from hpctune.common.text import clean, number, quoted
from hpctune.errors import UsageError
from hpctune.mirror.options import copy_of
from hpctune.model.ranking import Objectives
from hpctune.model.rows import flatten, missing_metric, number as metric_of
from hpctune.model.trial import CheckpointRef, Trial
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import CountedRow, ExperimentView, read_experiment
from hpctune.storage.values import as_json
from hpctune.worker.command import text_of

SCOPES = ("last", "avg", "last-5-avg", "last-10-avg", "all")


@dataclass(frozen=True, slots=True)
class Scored:
    """A trial with its score, the iteration of the score (for averages: the last one), and the checkpoint of that
    iteration or the newest one before it."""

    trial: Trial
    value: float
    iteration: int
    checkpoint: CheckpointRef | None


def rank(view: ExperimentView, metric: str, mode: str, scope: str) -> list[Scored]:
    """The trials that reported ``metric``, best first. Raises MetricError if none did."""
    rows: dict[str, list[CountedRow]] = {}
    for row in view.rows:
        rows.setdefault(row.trial_id, []).append(row)
    scored = [s for t in view.state.trials.values() if (s := _score(t, rows.get(t.trial_id, []), metric, mode, scope))]
    if not scored:
        known = {key for r in view.rows for key, v in flatten(r.row).items() if isinstance(v, (int, float))}
        raise missing_metric(metric, sorted(known), "The metric")
    sign = -1.0 if mode == "max" else 1.0
    return sorted(scored, key=lambda s: (math.isnan(s.value), sign * s.value))


def _score(trial: Trial, rows: Sequence[CountedRow], metric: str, mode: str, scope: str) -> Scored | None:
    points = [(i, value) for i, r in enumerate(rows) if (value := metric_of(r.row, metric)) is not None]
    if not points:
        return None
    at, value = points[-1]
    if scope == "all":
        sound = [p for p in points if not math.isnan(p[1])] or points
        at, value = (max if mode == "max" else min)(sound, key=lambda p: p[1])
    elif scope != "last":
        length = {"avg": len(points), "last-5-avg": 5, "last-10-avg": 10}[scope]
        some = deque((v for _, v in points), maxlen=length)
        value = sum(some) / len(some)
    alive = {c.name for c in trial.checkpoints}
    saved = [r.checkpoint for r in rows[: at + 1] if r.checkpoint is not None and r.checkpoint.name in alive]
    iteration = int(metric_of(rows[at].row, "training_iteration") or at + 1)
    return Scored(trial, value, iteration, saved[-1] if saved else trial.newest_checkpoint)


@click.command(
    "best",
    epilog="Example: hpctune best ~/hpctune_results/mnist --metric eval/acc --mode max -n 3",
    help="Show the best trials with config, value, iteration and checkpoint. Of several metrics: the trials that no "
    f"other trial beats (the Pareto front), as a table.\n\n{find.DIR_HELP}",
)
@find.dir_argument
@click.option(
    "--metric", help="The metric, such as eval/loss, or several: loss,latency. Default: the experiment's own."
)
@click.option("--mode", help="min or max, or one for each metric: min,max. Default: the experiment's own.")
@click.option("--scope", type=click.Choice(SCOPES), default="last", show_default=True, help="Which results count.")
@click.option(
    "-n", "--number", "most", type=click.IntRange(min=1), help="How many trials. Default: 1, or the whole front."
)
@click.option("--json", "json_wanted", is_flag=True, help="Print a JSON list instead.")
@click.option("--args", "args_wanted", is_flag=True, help="Print the configurations as command-line arguments instead.")
def command(
    directory: str | None, metric: str | None, mode: str | None, scope: str, most: int | None, json_wanted: bool,
    args_wanted: bool,
) -> None:  # fmt: skip
    """The command."""
    paths = find.experiment(directory)
    if "," in (metric or "") or (metric is None and spec_file.read(paths).more_objectives):
        from hpctune.cli import best_front  # imported here, because it reads more than the usual case needs

        best_front.show(paths, metric, mode, scope, most, json_wanted, args_wanted)
        return
    if mode is not None:
        check_mode(mode)
    view = read_experiment(paths.root, with_rows=True)
    spec = view.state.spec
    name, how = metric or spec.metric, mode or (spec.mode if metric in (None, spec.metric) else None)
    if name is None or how is None:
        what = "--metric NAME --mode min|max" if name is None else "--mode min|max"
        raise UsageError(
            f"The metric or mode is unknown. Give it: hpctune best {quoted(paths.root)} {what}{_known(view)}"
        )
    found = rank(view, name, how, scope)[: most or 1]
    if json_wanted:
        click.echo(as_json([_data(paths, s, name) for s in found]))
        return
    if args_wanted:
        for scored in found:
            click.echo(as_arguments(scored.trial.shown_config))
        return
    for place, scored in enumerate(found):
        click.echo(("\n" if place else "") + "\n".join(_lines(paths, scored, name, scope)))
    tell_confirmed(paths, ((name, how),))


def tell_confirmed(paths: ExperimentPaths, goals: Objectives) -> None:
    """Print what the runs with fresh seeds say, if there are some."""
    from hpctune.analysis import confirmed  # imported here, because few experiments have them

    if not (paths.root / confirmed.NAME).is_file():
        return
    state = read_experiment(paths.root).state
    for metric, mode in goals:
        if lines := confirmed.lines(confirmed.confirmed(paths, state, metric, mode), metric, mode):
            click.echo("\nRun again with fresh seeds (hpctune confirm):\n" + "\n".join(f"  {line}" for line in lines))


def as_arguments(config: Mapping[str, Any]) -> str:
    """A configuration as arguments for a shell: ``--lr 0.1 --amp``. Nested names are joined with dots."""
    words: list[str] = []
    for key, value in flatten(config).items():
        option = f"--{key.replace('/', '.')}"
        if value is True:
            words.append(option)
        elif value is not False and value is not None:
            words += [option, text_of(value)]
    return shlex.join(words)


def _known(view: ExperimentView) -> str:
    known = sorted({k for t in view.state.trials.values() for k, v in flatten(t.last).items() if isinstance(v, float)})
    return f". Reported metrics: {', '.join(known)}" if known else ""


def _lines(paths: ExperimentPaths, scored: Scored, metric: str, scope: str) -> list[str]:
    trial = scored.trial
    how = {"last": f"last, iteration {scored.iteration}", "all": f"iteration {scored.iteration}"}.get(scope, scope)
    lines = [f"{metric} = {number(scored.value)} ({how})  trial {trial.trial_id}  {trial.phase.value}"]
    lines += [f"  {clean(str(key))} = {clean(repr(value))}" for key, value in flatten(trial.shown_config).items()]
    checkpoint = _checkpoint(paths, scored)
    lines.append(f"  checkpoint: {checkpoint or 'none'}")
    lines.append(f"  directory:  {paths.trial(trial.dirname).root}")
    return lines


def _checkpoint(paths: ExperimentPaths, scored: Scored) -> str | None:
    ref = scored.checkpoint
    if ref is None:
        return None
    url = copy_of(paths.root)  # what is here is without its checkpoints
    if url is not None:
        return urls.below(url, f"{scored.trial.dirname}/{ref.name}")
    return str(paths.trial(scored.trial.dirname).checkpoint(ref.name))


def _data(paths: ExperimentPaths, scored: Scored, metric: str) -> dict[str, Any]:
    trial = scored.trial
    return {
        "trial_id": trial.trial_id,
        "phase": trial.phase.value,
        "metric": metric,
        "value": scored.value,
        "iteration": scored.iteration,
        "config": trial.shown_config,
        "checkpoint": _checkpoint(paths, scored),
        "directory": str(paths.trial(trial.dirname).root),
    }
