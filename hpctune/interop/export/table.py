"""An experiment as one table: a row for each trial, or for each result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpctune.analysis.listing import trial_row
from hpctune.analysis.load import LoadedExperiment
from hpctune.analysis.pictures.trials import state_of
from hpctune.analysis.table_files import write_as
from hpctune.analysis.tables import flat_row
from hpctune.interop.export.target import Progress
from hpctune.trial import Trial

Row = dict[str, Any]


def write_table(loaded: LoadedExperiment, file: Path, form: str, rows: bool, progress: Progress) -> int:
    """Write the table, in the form csv, json or parquet; returns how many rows it has.

    ``rows``: of all results, else of the trials.
    """
    made: list[Row] = []
    for number, trial in enumerate(loaded.trials, 1):
        progress(number, len(loaded.trials))
        if not rows:
            state = {"state": state_of(trial.value).value}
            made.append({"trial_id": trial.trial_id} | state | trial_row(trial.value, loaded.paths) | state)
            continue
        made += [{"trial_id": trial.trial_id, "name": trial.value.name} | row for row in results_of(loaded, trial)]
    write_as(form, made, file)
    return len(made)


def results_of(loaded: LoadedExperiment, trial: Trial) -> list[Row]:
    """The results of a trial, each as one line with the configuration that it was made with."""
    return [flat_row(one.row, one.row.get("config") or trial.config) for one in loaded.rows(trial.trial_id)]
