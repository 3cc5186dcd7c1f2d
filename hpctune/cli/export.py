"""``hpctune export``: an experiment in the form of another tool."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from hpctune.analysis.load import LoadedExperiment
from hpctune.cli import find
from hpctune.cli.progress import Progress
from hpctune.common.packages import load
from hpctune.common.text import count, quoted
from hpctune.errors import UsageError
from hpctune.interop.export import target as to

TABLES = ("csv", "parquet", "json")
TARGETS = ("optuna", "mlflow", "wandb", *TABLES, "tensorboard")


@click.command(
    "export",
    epilog="Example: hpctune export mnist --to optuna",
    help="Write an experiment in the form of another tool. The experiment itself stays as it is, and may be running: "
    "what is there of it now is written, and the same command brings optuna, mlflow, wandb and tensorboard up to date "
    "later, with every trial once.\n\n"
    "\b\n"
    "--to         TARGET (-o), and its default\n"
    "optuna       NAME.db (SQLite), a journal (.log), or a URL of a storage\n"
    "mlflow       mlflow.db (SQLite), a folder, or a tracking URI; $MLFLOW_TRACKING_URI\n"
    "wandb        folder NAME-wandb, for `wandb sync`\n"
    "csv          NAME.csv: a row for each trial; with --rows, for each result\n"
    "parquet      NAME.parquet: likewise\n"
    "json         NAME.json: likewise\n"
    "tensorboard  folder NAME-tensorboard, with HPARAMS\n\n"
    f"{find.DIR_HELP}",
)
@find.dir_argument
@click.option("--to", "form", type=click.Choice(TARGETS), required=True, help="The form.")
@click.option("-o", "--output", "target", metavar="TARGET", help="A file, a folder or a URL, as above.")
@click.option("--name", help="Optuna's study, MLflow's experiment, W&B's project. Default: the experiment's name.")
@click.option("--metric", help="With optuna: the metric, or several: loss,latency. Default: the experiment's own.")
@click.option("--mode", help="With optuna: min or max, or one for each metric: min,max.")
@click.option("--rows", is_flag=True, help="With csv, parquet and json: a row for each result.")
@click.option("--force", is_flag=True, help="Replace a file; write a study anew if finished trials have gone on.")
def command(directory: str | None, form: str, target: str | None, **options: Any) -> None:
    """The command."""
    _fits(form)
    paths = find.experiment(directory)
    write = {"optuna": _optuna, "mlflow": _mlflow, "wandb": _wandb, "tensorboard": _tensorboard}.get(form, _table)
    progress = Progress(quiet=True)
    name = paths.root.name

    def tell(done: int, of: int) -> None:
        progress.say(f"Writing trials ({done} of {of})")

    default = {"optuna": f"{name}.db", "mlflow": "", "wandb": f"{name}-wandb", "tensorboard": f"{name}-tensorboard"}
    place = target or default.get(form, f"{name}.{form}")
    try:
        lines = write(lambda: LoadedExperiment(paths.root), place, tell, form=form, **options)
    finally:
        progress.clear()
    click.echo("\n".join(lines))


_ONLY = {
    "name": ("optuna", "mlflow", "wandb"),
    "metric": ("optuna",),
    "mode": ("optuna",),
    "rows": TABLES,
    "force": ("optuna", *TABLES),
}
"""The forms that an option means something to."""


def _fits(form: str) -> None:
    ctx = click.get_current_context()
    for name, forms in _ONLY.items():
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and form not in forms:
            raise UsageError(f"--{name} says nothing about --to {form}. It belongs to: --to {', --to '.join(forms)}.")


Load = Callable[[], LoadedExperiment]


def _optuna(
    read: Load, place: str, tell: to.Progress, *, name: str | None, metric: str | None, mode: str | None, force: bool,
    **_: Any,
) -> list[str]:  # fmt: skip
    load("optuna", "", "optuna", "hpctune export --to optuna")
    from hpctune.analysis.objectives import objectives
    from hpctune.interop.export.storages import open_storage
    from hpctune.interop.export.study import StudyExport

    experiment = read()
    chosen = objectives(experiment, metric, mode)
    storage, named = open_storage(place)
    study = name or experiment.paths.root.name
    written = StudyExport(storage, study, force=force).write(experiment, chosen, tell)
    new = "all written anew" if written.anew else f"{written.added} new, {written.changed} changed, {written.same} same"
    return [
        f"{named}: study {study!r}, {count(len(experiment.trials), 'trial')} ({new})",
        f"Look at it: optuna-dashboard {quoted(named)}",
    ]


def _mlflow(read: Load, place: str, tell: to.Progress, *, name: str | None, **_: Any) -> list[str]:
    load("mlflow", "", "mlflow", "hpctune export --to mlflow")
    from hpctune.integration.mlflow import TRACKING_URI
    from hpctune.interop.export.trackers import to_mlflow

    given = place or os.environ.get(TRACKING_URI) or "mlflow.db"
    if to.is_url(given) or given == "databricks":
        uri = given
    elif given.endswith((".db", ".sqlite", ".sqlite3")):
        uri = f"sqlite:///{to.kept_file(given, b'SQLite format 3', 'an SQLite database')}"
    else:
        uri = to.folder(given).as_uri()
    experiment = read()
    runs = to_mlflow(experiment, uri, name, tell)
    known = name or experiment.paths.root.name
    shown = f"Look at them: mlflow ui --backend-store-uri {quoted(uri)}"
    return [f"{uri}: experiment {known!r}, {count(runs, 'run')}", *([] if uri.startswith("http") else [shown])]


def _wandb(read: Load, place: str, tell: to.Progress, *, name: str | None, **_: Any) -> list[str]:
    load("wandb", "", "wandb", "hpctune export --to wandb")
    from hpctune.interop.export.trackers import to_wandb

    folder, experiment = to.folder(place), read()
    runs = to_wandb(experiment, folder, name, tell)
    known = name or experiment.paths.root.name
    return [
        f"{folder}: {count(runs, 'run')} of project {known!r}",
        f"Upload them, from a machine with internet: wandb sync {quoted(folder)}/wandb/offline-run-*",
    ]


def _tensorboard(read: Load, place: str, tell: to.Progress, **_: Any) -> list[str]:
    from hpctune.interop.export.tensorboard import write_events

    folder = to.folder(place)
    runs = write_events(read(), folder, tell)
    return [f"{folder}: {count(runs, 'run')}", f"Look at them: tensorboard --logdir {quoted(folder)}"]


def _table(read: Load, place: str, tell: to.Progress, *, form: str, rows: bool, force: bool, **_: Any) -> list[str]:
    from hpctune.interop.export.table import write_table

    if form == "parquet":
        load("pyarrow", "", "parquet", "hpctune export --to parquet")
    file = to.new_file(place, force)
    written = write_table(read(), file, form, rows, tell)
    return [f"{file} ({count(written, 'row')})"]
