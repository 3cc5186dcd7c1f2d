"""The Pareto front of several metrics, for ``hpctune best``."""

from __future__ import annotations

from typing import Any

import click

from hpctune.analysis.load import LoadedExperiment
from hpctune.analysis.objectives import objectives
from hpctune.cli.best import as_arguments, tell_confirmed
from hpctune.common.text import clean, count, number, settings, table
from hpctune.errors import UsageError
from hpctune.model.ranking import Objectives, pareto_front, values_of
from hpctune.model.trial import Trial
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.values import as_json

MAX_CONFIG = 100
"""Characters of a configuration in the table."""


def show(
    paths: ExperimentPaths, metric: str | None, mode: str | None, scope: str, most: int | None, json_wanted: bool,
    args_wanted: bool,
) -> None:  # fmt: skip
    """Print the front. Raises UsageError for metrics that are not known, or another scope than the last results."""
    if scope != "last":
        raise UsageError(f"--scope {scope} is for one metric. A Pareto front compares the last results of the trials.")
    loaded = LoadedExperiment(paths.root)
    goals = objectives(loaded, metric, mode)
    found = pareto_front((trial.value for trial in loaded.trials), goals)
    shown = found[:most]
    if json_wanted:
        click.echo(as_json([_data(paths, trial, goals) for trial in shown]))
    elif args_wanted:
        for trial in shown:
            click.echo(as_arguments(trial.shown_config))
    else:
        names = ", ".join(f"{how} {name}" for name, how in goals)
        click.echo(f"Pareto front of {names}: {count(len(found), 'trial')} of {len(loaded.trials)}")
        if shown:
            header = ["trial", *(name for name, _ in goals), "iter", "config"]
            click.echo("\n".join(table(header, [_row(trial, goals) for trial in shown])))
            click.echo("One of them: --metric NAME --mode min|max -n 1. Whole configurations: --json or --args.")
        tell_confirmed(paths, goals)


def _row(trial: Trial, goals: Objectives) -> list[object]:
    values = values_of(trial, goals) or ()
    varied = settings(trial.varied or trial.shown_config, MAX_CONFIG)
    return [trial.trial_id, *map(number, values), trial.last_iteration, clean(varied)]


def _data(paths: ExperimentPaths, trial: Trial, goals: Objectives) -> dict[str, Any]:
    newest = trial.newest_checkpoint
    return {
        "trial_id": trial.trial_id,
        "phase": trial.phase.value,
        "values": dict(zip((name for name, _ in goals), values_of(trial, goals) or (), strict=True)),
        "iteration": trial.last_iteration,
        "config": trial.shown_config,
        "checkpoint": None if newest is None else str(paths.trial(trial.dirname).checkpoint(newest.name)),
        "directory": str(paths.trial(trial.dirname).root),
    }
