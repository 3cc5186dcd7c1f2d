"""The functions of Ray Tune's old command line, for scripts: lists of experiments and trials, and notes.

``tune list-trials``, ``tune list-experiments`` and ``tune add-note`` are ``hpctune list`` and ``hpctune note`` now.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from hpctune.analysis.listing import list_experiments as experiment_rows, list_trials as trial_rows
from hpctune.analysis.table_files import write_rows
from hpctune.cli import find
from hpctune.cli.list import EXPERIMENT_COLUMNS, print_rows, usual_columns
from hpctune.storage.layout import NOTE


def list_trials(
    experiment_path: str,
    sort: Sequence[str] | str | None = None,
    output: str | None = None,
    filter_op: str | None = None,
    info_keys: Sequence[str] | None = None,
    result_keys: Sequence[str] | None = None,
    limit: int | None = None,
    desc: bool = False,
) -> None:
    """Print the trials of an experiment as a table.

    Args:
        experiment_path: The experiment's directory.
        sort: A column, or several, the most important first.
        output: A file to write the table to as well: .csv, .json, .parquet or .pkl.
        filter_op: A condition, such as "loss < 0.2".
        info_keys, result_keys: The columns; None: the usual ones.
        limit: How many rows at most.
        desc: Whether to sort in descending order.
    """
    paths = find.experiment(experiment_path)
    columns = [*(info_keys or ()), *(result_keys or ())] or None
    rows = trial_rows(paths.root, columns=columns, filter=filter_op, sort=sort, descending=desc, limit=limit)
    print_rows(rows, columns or usual_columns(rows, paths, everything=False), whole=columns is not None)
    if output is not None:
        write_rows(rows, Path(output))


def list_experiments(
    project_path: str,
    sort: Sequence[str] | str | None = None,
    output: str | None = None,
    filter_op: str | None = None,
    info_keys: Sequence[str] | None = None,
    limit: int | None = None,
    desc: bool = False,
) -> None:
    """Print the experiments in a directory as a table. The arguments are those of :func:`list_trials`."""
    columns = list(info_keys or ()) or None
    root = Path(project_path).expanduser()
    rows = experiment_rows(root, columns=columns, filter=filter_op, sort=sort, descending=desc, limit=limit)
    print_rows(rows, columns or EXPERIMENT_COLUMNS, whole=columns is not None)
    if output is not None:
        write_rows(rows, Path(output))


def add_note(path: str, filename: str = NOTE) -> None:
    """Open the notes of an experiment or a trial in an editor. ``path``: its directory."""
    place = Path(path).expanduser()
    if not place.is_dir():
        raise FileNotFoundError(f"There is no directory {place}.")
    (place / filename).touch()
    click.edit(filename=str(place / filename))
