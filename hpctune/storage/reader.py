"""Reads an experiment from any node, without a lock and without any change.

It reads the journal first, and then the records in run files that no driver has added to the journal yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from hpctune.core.state import ExperimentState
from hpctune.core.transitions import acceptable, as_event
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.trial import CheckpointRef
from hpctune.storage import journal, spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.run_file import RunTail


@dataclass(frozen=True, slots=True)
class CountedRow:
    """One result that counts, and the checkpoint that was saved with it, if any."""

    trial_id: str
    row: Mapping[str, Any]
    checkpoint: CheckpointRef | None = None


@dataclass(slots=True)
class ExperimentView:
    """An experiment as it is now. ``rows``: every counted result in order, if rows were asked for."""

    paths: ExperimentPaths
    state: ExperimentState
    rows: list[CountedRow] = field(default_factory=list)


def open_experiment(path: str | Path) -> ExperimentPaths:
    """The paths of the experiment in ``path``. Raises NotAnExperimentError if there is none."""
    paths = ExperimentPaths(Path(path).expanduser().absolute())
    spec_file.read(paths)
    return paths


def read_experiment(
    path: str | Path,
    *,
    with_rows: bool = False,
    peek: bool = True,
    tell: Callable[[e.Recorded], object] | None = None,
) -> ExperimentView:
    """Read the experiment in ``path``.

    ``with_rows``: include all its counted results. ``peek``: include the records that live runs have written since
    their driver last read them. ``tell``: is called with each event of the journal, so that one reading is enough for
    those who need the events, too.
    """
    paths = ExperimentPaths(Path(path).expanduser().absolute())
    spec = spec_file.read(paths)
    state = ExperimentState(spec)
    view = ExperimentView(paths, state)
    for recorded in journal.read(paths.journal, sealed_ok=True):
        state.apply(recorded)
        if tell is not None:
            tell(recorded)
        if with_rows:
            note_row(view, recorded.event)
    if peek:
        for recorded in unfolded(view):
            if with_rows:
                note_row(view, recorded.event)
    return view


def counted_rows(
    paths: ExperimentPaths, trial_ids: Collection[str], unwritten: Iterable[e.Recorded] = ()
) -> dict[str, list[CountedRow]]:
    """The counted results of these trials in the journal, in order, without those before a restart from scratch.

    ``unwritten``: what a driver has recorded since it last wrote to the journal.
    """
    rows: dict[str, list[CountedRow]] = {trial_id: [] for trial_id in trial_ids}
    only = next(iter(trial_ids)) if len(trial_ids) == 1 else ""
    for recorded in chain(journal.read(paths.journal, sealed_ok=True, naming=only), unwritten):
        event = recorded.event
        if isinstance(event, e.ResultReported) and event.run.trial_id in rows:
            if event.verdict is e.Verdict.COUNTED:
                rows[event.run.trial_id].append(CountedRow(event.run.trial_id, event.row, event.checkpoint))
        elif isinstance(event, e.TrialReopened) and event.restart and event.trial_id in rows:
            rows[event.trial_id].clear()
    return rows


def note_row(view: ExperimentView, event: e.Event) -> None:
    """Use an event for the view's rows."""
    if isinstance(event, e.ResultReported) and event.verdict is e.Verdict.COUNTED:
        view.rows.append(CountedRow(event.run.trial_id, event.row, event.checkpoint))
    elif isinstance(event, e.TrialReopened) and event.restart:
        view.rows[:] = [r for r in view.rows if r.trial_id != event.trial_id]


def unfolded(view: ExperimentView) -> Iterator[e.Recorded]:
    """Apply the records of live attempts that are not in the journal to the view's own state, and yield them."""
    state = view.state
    for trial in list(state.active_trials()):
        attempt = trial.attempt
        if attempt is None or attempt.over:
            continue
        restart = max(attempt.restart, 0)
        while True:
            run = RunKey(trial.trial_id, attempt.number, restart)
            path = view.paths.trial(trial.dirname).run(run.attempt, run.restart)
            records = RunTail(path, run).read()
            if not records:
                break
            for record in records:
                now = state.trials[trial.trial_id]
                event = as_event(now, record, state.spec.checkpoint)
                if acceptable(now, event):
                    recorded = e.Recorded(state.last_at, event)
                    state.apply(recorded)
                    yield recorded
            restart += 1
