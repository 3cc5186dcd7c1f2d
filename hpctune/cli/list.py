"""``hpctune list``: the experiments in a directory, or the trials of one, as a table or as JSON."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hpctune.analysis.listing import list_experiments, list_trials
from hpctune.analysis.load import experiment_root
from hpctune.analysis.table_files import csv_text, write_rows
from hpctune.cli import find, snapshot
from hpctune.common.text import clean, count, shorten, shorten_middle, table, when
from hpctune.mirror.options import is_elsewhere
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.values import as_json

EXPERIMENT_COLUMNS = ("name", "status", "trials", "counts", "best", "updated_at")
TRIAL_COLUMNS = ("trial_id", "status", "training_iteration")
TIMES = ("created_at", "updated_at", "started_at", "ended_at")
MAX_CONFIG = 6
HEADINGS = {"last_error": "error"}
MAX_CELL = 40
MIN_ERROR = 48

Row = Mapping[str, Any]


@click.command(
    "list",
    epilog="Example: hpctune list ~/hpctune_results/mnist --filter 'accuracy > 0.9 and config/lr < 0.1' --sort loss",
    help="List the experiments in DIR, one per row; if DIR is an experiment, list its trials. Default: the "
    "experiments under the storage path.\n\nFilters support ==, !=, <, <=, >, >=, ~ (contains), and, or, not and "
    "parentheses. Columns are the reported metrics, and the configuration under config/ or by its own names. Names may "
    "contain blanks, or be written in backquotes: '`val acc (%)` > 90'. An unknown column gives an error that lists "
    "the known ones.",
)
@find.dir_argument
@click.option("--columns", metavar="A,B,...", help="Columns to show; all: every column.")
@click.option("--filter", "wanted", metavar="EXPRESSION", help="Which rows.")
@click.option(
    "--sort", metavar="COLUMN", help="Sort by this column: the metric best first, others ascending; no value: last."
)
@click.option("--desc/--asc", default=None, help="Sort in descending, or in ascending order.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Maximum number of rows.")
@click.option("--json", "json_wanted", is_flag=True, help="Print a JSON list instead, with every column.")
@click.option("--csv", "csv_wanted", is_flag=True, help="Print a CSV table instead, with every column.")
@click.option(
    "-o", "--output", metavar="FILE", help="Write every column to a file: .csv, .json, .parquet or .pkl (pandas)."
)
def command(
    directory: str | None,
    columns: str | None,
    wanted: str | None,
    sort: str | None,
    desc: bool | None,
    limit: int | None,
    json_wanted: bool,
    csv_wanted: bool,
    output: str | None,
) -> None:
    """The command."""
    root, paths = _place(directory)
    chosen = None if columns in (None, "all") else [c.strip() for c in str(columns).split(",") if c.strip()]
    if paths is None:
        rows = list_experiments(root, columns=chosen, filter=wanted, sort=sort, descending=bool(desc), limit=limit)
    else:
        rows = list_trials(root, columns=chosen, filter=wanted, sort=sort, descending=desc, limit=limit)
    if not rows and paths is None and directory is not None and not find.experiments(root):
        raise find.no_experiment(directory, root)
    if output is not None:
        write_rows(rows, Path(output).expanduser())
        click.echo(f"Wrote {count(len(rows), 'row')} to {output}.")
        return
    if json_wanted:
        click.echo(as_json(rows))
        return
    if csv_wanted:
        click.echo(csv_text(rows), nl=False)
        return
    if not rows:
        click.echo(_nothing(root, paths, wanted), err=True)
        return
    if paths is None:
        rows = [{**row, "status": _driven(row)} if "status" in row else row for row in rows]
    shown = chosen or usual_columns(rows, paths, everything=columns == "all")
    print_rows(rows, shown, whole=columns is not None)


def _place(directory: str | None) -> tuple[Path, ExperimentPaths | None]:
    """The directory to list, and the experiment, if it is one."""
    directory = None if directory is None else directory.removeprefix("file://")
    if is_elsewhere(directory):
        root = experiment_root(str(directory))
        return root, ExperimentPaths(root) if find.is_experiment(root) else None
    path = Path(directory).expanduser() if directory is not None else find.storage_path()
    stored = find.stored(directory) if directory is not None and not find.is_experiment(path) else None
    if stored is not None and not find.experiments(path):  # a folder of that name does not hide it
        path = stored
    if directory is not None and not path.is_dir():
        raise find.no_experiment(directory, path)
    if directory is None and not path.is_dir():
        return find.experiment(None).root, None
    return path, ExperimentPaths(path.absolute()) if find.is_experiment(path) else None


def _driven(row: Row) -> str:
    """The status of an experiment, and whether its driver is gone."""
    status = str(row["status"])
    if status not in ("running", "waiting", "stopping") or "path" not in row:
        return status
    shown = snapshot.driver_of(ExperimentPaths(Path(row["path"])), time.time())
    return status if shown.alive else f"{status}, no driver" if shown.alive is False else f"{status}, driver silent"


def _nothing(root: Path, paths: ExperimentPaths | None, wanted: str | None) -> str:
    what = "experiment" if paths is None else "trial"
    return f"No {what} in {root}" + (f" for which {wanted}." if wanted else ".")


def usual_columns(rows: Sequence[Row], paths: ExperimentPaths | None, *, everything: bool) -> list[str]:
    """The default columns: for trials with the metric and the parameters that the search varies."""
    known = list(dict.fromkeys(key for row in rows for key in row))
    if everything:
        return known
    if paths is None:
        return [c for c in EXPERIMENT_COLUMNS if c in known]
    metric = spec_file.read(paths).metric
    config = [c for c in known if c.startswith("config/") and len({repr(row.get(c)) for row in rows}) > 1]
    columns = [*TRIAL_COLUMNS, *([metric] if metric else []), *config[:MAX_CONFIG]]
    if any(row.get("error") for row in rows):
        columns.append("last_error")
    return [c for c in columns if c in known]


def print_rows(rows: Sequence[Row], columns: Sequence[str], *, whole: bool) -> None:
    """Print a table. ``whole``: no cell is shortened."""
    width = shutil.get_terminal_size((200, 40)).columns
    header = list(columns) if whole else [HEADINGS.get(c, c.removeprefix("config/")) for c in columns]
    cells = [[_cell(name, row.get(name), whole) for name in columns] for row in rows]
    if columns[-1] == "last_error" and not whole:
        others = max(len(line) for line in table([*header[:-1], ""], [[*line[:-1], "|"] for line in cells])) - 1
        room = max(width - others, MIN_ERROR)
        cells = [[*line[:-1], shorten_middle(str(line[-1] or ""), room)] for line in cells]
        width = others + room
    for line in table(header, cells):
        click.echo(line if whole else shorten(line, width))


def _cell(name: str, value: Any, whole: bool) -> object:
    if name in TIMES and isinstance(value, (int, float)):
        return when(value)
    if isinstance(value, (list, dict)):
        value = repr(value)
    if not isinstance(value, str) or whole or name == "name":
        return value
    return clean(value) if name == "last_error" else shorten(value, MAX_CELL)
