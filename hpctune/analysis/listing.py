"""Experiments and trials as plain rows, for lists on a terminal. Loads neither numpy nor pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.analysis.filters import column_of, parse
from hpctune.common.text import nearest
from hpctune.core.state import ExperimentState
from hpctune.errors import TuneError, UsageError
from hpctune.model import failures
from hpctune.model.ranking import best_trial
from hpctune.model.rows import NOT_SHOWN, flatten
from hpctune.model.trial import Phase, Trial
from hpctune.output.display.words import amounts, phase_word, state_counts, state_word
from hpctune.storage.layout import NOTE, ExperimentPaths
from hpctune.storage.reader import read_experiment
from hpctune.storage.spec_file import find_experiments

Row = dict[str, Any]
EXPERIMENT_COLUMNS = ("name", "status", "trials", "counts", "best", "created_at", "updated_at", "path")
TRIAL_COLUMNS = ("trial_id", "name", "status", "training_iteration", "time_total_s")


def list_experiments(
    root: str | Path,
    *,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    sort: str | Sequence[str] | None = None,
    descending: bool = False,
    limit: int | None = None,
) -> list[Row]:
    """One row for each experiment in ``root`` (or for ``root`` itself), oldest first.

    Columns: ``name``, ``status``, ``trials``, ``counts`` (in words) and one count for each phase, ``metric``,
    ``mode``, ``best``, ``best_trial``, ``created_at``, ``updated_at`` (Unix seconds), ``path``,
    ``note`` (the last line of its notes), ``error`` (why it cannot be read).
    """
    place = Path(root).expanduser().absolute()
    rows = sorted(
        (_experiment(path, place) for path in _experiments(place)),
        key=lambda row: (row["created_at"] or 0.0, row["name"]),
    )
    return select(rows, columns=columns, filter=filter, sort=sort, descending=descending, limit=limit)


def list_trials(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    sort: str | Sequence[str] | None = None,
    descending: bool | None = None,
    limit: int | None = None,
) -> list[Row]:
    """One row for each trial of the experiment in ``path``, in the order in which they were made.

    Columns: ``trial_id``, ``name``, ``status``, ``state`` (in words: of a finished trial also how it
    ended), ``job_id``, ``node``, ``failures``, ``error``, ``last_error`` (its last line), ``reason``, ``path``,
    ``started_at``, ``ended_at`` (Unix seconds), each key of the last result, and the configuration under ``config/``.

    ``descending`` None: the best first, if ``sort`` is the experiment's metric, else in ascending order.
    """
    view = read_experiment(path)
    rows = [trial_row(trial, view.paths) for trial in view.state.trials.values()]
    if descending is None and sort is not None:
        descending = _several(sort)[:1] == [view.state.spec.metric] and view.state.spec.mode == "max"
    return select(rows, columns=columns, filter=filter, sort=sort, descending=bool(descending), limit=limit)


def select(
    rows: Iterable[Row],
    *,
    columns: Sequence[str] | None = None,
    filter: str | None = None,
    sort: str | Sequence[str] | None = None,
    descending: bool = False,
    limit: int | None = None,
) -> list[Row]:
    """Those of ``rows`` that ``filter`` (see ``analysis.filters``) lets through, sorted, with these columns.

    ``sort``: a column, or several, the most important first; ``-column``: descending order. Rows without a value there
    come last. A parameter may be named without its ``config/``. Raises UsageError, with the columns that exist, for a
    column that no row has.
    """
    chosen = list(rows)
    known = {key: None for row in chosen for key in row}
    columns = [column_of(column, known) for column in columns] if columns else None
    orders = [(column.removeprefix("-"), descending or column.startswith("-")) for column in _several(sort)]
    orders = [(column_of(column, known), falls) for column, falls in orders]
    accepts = parse(filter, known) if filter else None
    for column in (*(columns or ()), *(column for column, _ in orders), *(accepts.columns if accepts else ())):
        if known and column not in known:
            near = nearest(column, known)
            raise UsageError(f"There is no column {column!r}. {near}There are: {', '.join(known)}.")
    if accepts:
        chosen = [row for row in chosen if accepts(row)]
    for column, falls in reversed(orders):
        chosen = _sorted(chosen, column, falls)
    chosen = chosen[:limit] if limit is not None else chosen
    return [{column: row.get(column) for column in columns} for row in chosen] if columns else chosen


def _several(sort: str | Sequence[str] | None) -> Sequence[str]:
    return [sort] if isinstance(sort, str) and sort else sort or []


def _sorted(rows: list[Row], column: str, descending: bool) -> list[Row]:
    def rank(row: Row) -> tuple[bool, float, str]:
        value = row[column]
        return (False, float(value), "") if isinstance(value, (int, float)) else (True, 0.0, str(value))

    valued = [row for row in rows if (v := row.get(column)) is not None and v == v]
    missing = [row for row in rows if (v := row.get(column)) is None or v != v]
    return [*sorted(valued, key=rank, reverse=descending), *missing]


def _experiments(root: Path) -> list[Path]:
    if not root.is_dir():
        raise UsageError(f"There is no directory {root}. Name the directory that contains the experiments.")
    return [root] if ExperimentPaths(root).spec.is_file() else find_experiments(root)


def _experiment(path: Path, root: Path) -> Row:
    name = path.name if path == root else str(path.relative_to(root))
    row: Row = {"name": name, "status": "unreadable", "created_at": None, "path": str(path), "error": ""}
    try:
        state = read_experiment(path, peek=False).state
    except TuneError as error:
        return row | {"error": str(error)}
    spec = state.spec
    best = best_trial(state.trials.values(), spec.metric, spec.mode)
    return row | {
        "status": experiment_status(state),
        "trials": len(state.trials),
        "counts": amounts(state_counts(state.trials.values(), state.phases)),
        **{phase_word(phase): state.phases[phase] for phase in Phase},
        "metric": spec.metric,
        "mode": spec.mode,
        "best": best[0] if best else None,
        "best_trial": best[1].name if best else None,
        "created_at": spec.created_at,
        "updated_at": state.last_at or spec.created_at,
        "note": _last_note(path),
    }


def _last_note(path: Path) -> str | None:
    """The last line of an experiment's notes, if it has any."""
    try:
        lines = (path / NOTE).read_text(errors="replace").split("\n")
    except OSError:
        return None
    return next((line for line in reversed(lines) if line.strip()), None)


def experiment_status(state: ExperimentState) -> str:
    """``finished``, ``stopping``, ``running`` (trials have jobs), ``waiting`` (they have none) or ``new``."""
    if state.ended is not None:
        return "finished"
    if state.stopping is not None:
        return "stopping"
    if state.live:
        return "running"
    return "waiting" if state.trials else "new"


def trial_row(trial: Trial, paths: ExperimentPaths) -> Row:
    """A trial as a row of :func:`list_trials`."""
    attempt = trial.attempt
    last: Mapping[str, Any] = {k: v for k, v in trial.last.items() if k not in NOT_SHOWN}
    return {
        "trial_id": trial.trial_id,
        "name": trial.name,
        "status": trial.phase.value,
        "state": state_word(trial),
        "training_iteration": trial.last_iteration or None,
        **flatten(last),
        **flatten(trial.shown_config, "config/"),
        "job_id": attempt.job_id if attempt is not None else last.get("job_id"),
        "node": attempt.nodes if attempt is not None and attempt.nodes else last.get("hostname"),
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
        "failures": trial.failures + (trial.phase is Phase.ERROR),
        "error": failures.words(trial) if trial.error is not None else None,
        "last_error": failures.brief(trial) if trial.error is not None else None,
        "reason": trial.reason or None,
        "path": str(paths.root / trial.dirname),
    }
