"""``hpctune export``: an experiment as an archive, or in the form of another tool."""

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
CHECKPOINTS = ("best", "last", "all", "none")
TARGETS = ("archive", "optuna", "mlflow", "wandb", *TABLES, "tensorboard")


@click.command(
    "export",
    epilog="Example: hpctune export mnist mnist.tar.gz --best 3\n\nhpctune export mnist --to optuna",
    help="Write an experiment as one archive to keep or to give away, or in the form of another tool. The experiment "
    "itself stays as it is, and may be running: what is there of it now is written. The same command brings optuna, "
    "mlflow, wandb and tensorboard up to date later, with every trial once.\n\n"
    "An archive has the best trials with configurations and checkpoints, a table of all trials, the definition of the "
    "search, and the versions it was made with.\n\n"
    "\b\n"
    "--to         TARGET, and its default\n"
    "archive      NAME.tar.gz; .tar, .tgz, .tar.xz, .zip, a URL of one, a folder\n"
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
@click.argument("target", metavar="[TARGET]", required=False)
@click.option(
    "--to",
    "form",
    type=click.Choice(TARGETS),
    help="The form. Default: a table if TARGET ends with .csv, .parquet or .json, else an archive.",
)
@click.option("-o", "--output", metavar="TARGET", help="TARGET as an option, if DIR is left out.")
@click.option(
    "--best",
    type=click.IntRange(min=1),
    metavar="N",
    help="With archive: the N best trials. Default: the best one; of several metrics, the whole front.",
)
@click.option(
    "--checkpoints",
    type=click.Choice(CHECKPOINTS),
    default="best",
    show_default=True,
    help="With archive: which checkpoints of these trials.",
)
@click.option("--name", help="Optuna's study, MLflow's experiment, W&B's project. Default: the experiment's name.")
@click.option(
    "--metric", help="With archive and optuna: the metric, or several: loss,latency. Default: the experiment's own."
)
@click.option("--mode", help="With archive and optuna: min or max, or one for each metric: min,max.")
@click.option(
    "--rows", is_flag=True, help="With csv, parquet and json: a row for each result. With archive: results.csv too."
)
@click.option(
    "--force", is_flag=True, help="Replace what is there; write a study again if finished trials have gone on."
)
def command(directory: str | None, target: str | None, output: str | None, form: str | None, **options: Any) -> None:
    """The command."""
    if target is not None and output is not None:
        raise UsageError(f"Two targets: {target} and -o {output}. Name one.")
    target = target or output
    form = form or _form_of(target, directory)
    _fits(form)
    paths = find.experiment(directory)
    writers: dict[str, Callable[..., list[str]]] = {
        "archive": _archive, "optuna": _optuna, "mlflow": _mlflow, "wandb": _wandb, "tensorboard": _tensorboard,
        "csv": _table, "parquet": _table, "json": _table,
    }  # fmt: skip
    progress = Progress(quiet=True)
    name = paths.root.name

    def tell(done: int, of: int) -> None:
        progress.say(f"Writing trials ({done} of {of})")

    default = {
        "archive": f"{name}.tar.gz",
        "optuna": f"{name}.db",
        "mlflow": "",
        "wandb": f"{name}-wandb",
        "tensorboard": f"{name}-tensorboard",
    }
    place = target or default.get(form, f"{name}.{form}")
    try:
        lines = writers[form](lambda: LoadedExperiment(paths.root), place, tell, form=form, **options)
    finally:
        progress.clear()
    click.echo("\n".join(lines))


_ONLY = {
    "name": ("optuna", "mlflow", "wandb"),
    "metric": ("archive", "optuna"),
    "mode": ("archive", "optuna"),
    "rows": ("archive", *TABLES),
    "force": ("archive", "optuna", *TABLES),
    "best": ("archive",),
    "checkpoints": ("archive",),
}
"""The forms that an option means something to."""


def _form_of(target: str | None, directory: str | None) -> str:
    """What is to be written if ``--to`` is not given."""
    if target is None:
        raise UsageError(
            f"Export to what? An archive: hpctune export {quoted(directory or 'NAME')} TARGET.tar.gz. Another tool: "
            f"--to {', --to '.join(TARGETS[1:])}."
        )
    ending = target.rpartition(".")[2].lower()
    return ending if ending in TABLES else "archive"


def _fits(form: str) -> None:
    ctx = click.get_current_context()
    for name, forms in _ONLY.items():
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and form not in forms:
            raise UsageError(f"--{name} says nothing about --to {form}. It belongs to: --to {', --to '.join(forms)}.")


Load = Callable[[], LoadedExperiment]


def _archive(
    read: Load, place: str, tell: to.Progress, *, best: int | None, checkpoints: str, metric: str | None,
    mode: str | None, rows: bool, force: bool, **_: Any,
) -> list[str]:  # fmt: skip
    from hpctune.analysis.objectives import objectives
    from hpctune.cli.best import as_arguments
    from hpctune.common import urls
    from hpctune.interop.export.archive import choose, pack
    from hpctune.interop.export.packing import packing

    experiment = read()
    goals = objectives(experiment, metric, mode)
    chosen = choose(experiment, goals, best, checkpoints)
    with packing(place, force) as into:
        pack(experiment, into, chosen, goals, tell, rows=rows, arguments=as_arguments)
    saved = sum(len(each.checkpoints) for each in chosen)
    which = ", ".join(each.trial.trial_id for each in chosen) or "no trial has reported a value yet"
    said = f"the best of {count(len(experiment.trials), 'trial')} ({which}), {count(saved, 'checkpoint')}"
    return [f"{urls.public(place)}: {said}. README.md says what is in it."]


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
    new = (
        "all written again"
        if written.replaced
        else f"{written.added} new, {written.changed} changed, {written.same} same"
    )
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
