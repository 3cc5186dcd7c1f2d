"""What ``hpctune top`` shows, read from the files of an experiment."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.analysis import listing
from hpctune.analysis.followed import FollowedExperiment
from hpctune.cli import snapshot, statustext
from hpctune.cli.outputfiles import Stream
from hpctune.cli.snapshot import Snapshot
from hpctune.common.text import duration, number
from hpctune.model import failures, rows
from hpctune.model.ranking import pareto_front
from hpctune.model.rows import flatten, lookup
from hpctune.model.trial import Phase, Trial
from hpctune.output.display.status import expected_in
from hpctune.output.display.words import state_word
from hpctune.storage.reader import counted_rows

LAST_LINES = 200
"""Lines of a trial's output that are shown."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrialTable:
    """The trials as a table. ``rows``: the values by trial id, for sorting and filters; ``time`` is in seconds."""

    columns: tuple[str, ...]
    rows: dict[str, Row]

    def chosen(self, filter: str, sort: str, descending: bool) -> list[str]:
        """The ids of the trials that ``filter`` lets through, sorted. Raises UsageError for a filter that is wrong."""
        kept = listing.select(
            self.rows.values(), filter=filter.strip() or None, sort=sort or None, descending=descending
        )
        return [row["trial_id"] for row in kept]

    def cells(self, trial_id: str) -> list[str]:
        """The cells of a trial's line."""
        row = self.rows[trial_id]
        texts = {name: "" if row.get(name) is None else number(row[name]) for name in self.columns}
        texts["time"] = "" if row["time"] is None else duration(row["time"])
        if "front" in texts:
            texts["front"] = "*" if row["front"] else ""
        return [texts[name] for name in self.columns]


def trial_table(shot: Snapshot) -> TrialTable:
    """Id, state, iteration, the metrics, how long it runs or has run, and what varies. With several metrics, "front" is
    true for the trials on the Pareto front."""
    spec = shot.state.spec
    metric = [name for name, _ in spec.objectives]
    trials = shot.state.trials.values()
    several = bool(spec.more_objectives)
    front = {trial.trial_id for trial in pareto_front(trials, spec.objectives)} if several else set()
    varied = dict.fromkeys(name for trial in trials for name in flatten(snapshot.what_varied(trial)))
    columns = ("trial_id", "state", "iteration", *metric, *(["front"] if several else []), "time", *varied)
    table = {trial.trial_id: _row(trial, shot, metric) for trial in trials}
    for trial_id, row in table.items() if several else ():
        row["front"] = trial_id in front
    return TrialTable(columns, table)


def _row(trial: Trial, shot: Snapshot, metric: Sequence[str]) -> Row:
    began, ended = trial.started_at, trial.ended_at if trial.phase.final else shot.now
    return {
        "trial_id": trial.trial_id,
        "status": trial.phase.value,
        "state": state_word(trial),
        "iteration": trial.last_iteration or None,
        **{name: lookup(trial.last, name) for name in metric},
        "time": None if began is None or ended is None else max(ended - began, 0.0),
        **flatten(snapshot.what_varied(trial)),
    }


@dataclass(frozen=True, slots=True)
class TrialDetails:
    """One trial. ``points``: iteration and metric of each counted result. ``error``: if it has none, why it ended, or
    what it waits for."""

    trial_id: str
    points: list[tuple[float, float]]
    config: str
    output: str
    error: str
    failed: bool


def details(shot: Snapshot, trial: Trial) -> TrialDetails:
    """Read what is shown of one trial."""
    paths, metric = shot.paths.trial(trial.dirname), shot.state.spec.metric
    points: list[tuple[float, float]] = []
    for counted in counted_rows(shot.paths, [trial.trial_id])[trial.trial_id] if metric else []:
        value = rows.number(counted.row, metric or "")
        if value is not None:
            points.append((float(counted.row.get("training_iteration", len(points) + 1)), value))
    config = "\n".join(f"{name} = {value}" for name, value in flatten(trial.shown_config).items())
    streams = dict.fromkeys(name for name in (shot.state.spec.stdout, shot.state.spec.stderr) if name)
    texts = [(name, Stream(name, paths.root / name).last(LAST_LINES)) for name in streams]
    output = "\n".join(f"==> {name} <==\n{text}" if len(texts) > 1 else text for name, text in texts if text)
    return TrialDetails(
        trial.trial_id, points, config, output or "(no output)", _error(trial, paths.error), trial.error is not None
    )


def _error(trial: Trial, file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return failures.words(trial) if trial.error is not None else trial.reason or "(no error)"


def take(followed: FollowedExperiment) -> Snapshot:
    """The experiment as it is now."""
    return snapshot.take(followed, time.time())


def head(shot: Snapshot, columns: int) -> list[str]:
    """How the experiment stands, in a few lines."""
    lines = statustext.head(shot, columns)
    return [part for line in lines for part in textwrap.wrap(line, columns, subsequent_indent=" " * 12)]


def progress(shot: Snapshot) -> tuple[int, int | None]:
    """How many trials are over, and of how many; None: not known."""
    return sum(shot.state.phases[phase] for phase in Phase if phase.final), expected_in(shot.state)


def status_text(shot: Snapshot, columns: int) -> str:
    """The text of ``hpctune status``: jobs, and why they wait."""
    return statustext.render(shot, columns)


def experiment_rows(storage: Path) -> list[Row]:
    """One row for each experiment under the storage path, the newest first."""
    if not storage.is_dir():
        return []
    return listing.list_experiments(storage, sort="-updated_at")
