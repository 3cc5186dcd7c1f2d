"""Checks of a trial's directory: temporary files, checkpoints, control file, run files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpctune.core.plan import control_of
from hpctune.errors import CheckpointError, StorageError
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.records import Exit
from hpctune.model.rows import number
from hpctune.model.trial import CheckpointRef, Trial
from hpctune.repair.facts import Facts
from hpctune.repair.findings import (
    Finding,
    Fix,
    MoveAside,
    RecordEvent,
    Remove,
    RepublishControl,
    RevokeRun,
    Rewrite,
    WriteProgress,
)
from hpctune.storage import checkpoints, control_file
from hpctune.storage.layout import CHECKPOINT_PREFIX, ExperimentPaths, TrialPaths
from hpctune.storage.ownership import DOOMED_PREFIX, PROGRESS_FILE, STAGING_PREFIX
from hpctune.storage.run_file import RunTail, parse_record

_RUN = re.compile(r"run-(\d+)\.(\d+)\.jsonl")
_TEMPORARY = re.compile(r"\..*\.(\d+\.tmp|[0-9a-f]{12}\.new)")


@dataclass(frozen=True, slots=True)
class Liveness:
    """What is known of jobs. ``asked``: whether the cluster answered; ``tags``: (trial, attempt) of those alive."""

    asked: bool
    tags: frozenset[tuple[str, int]] = frozenset()

    def may_run(self, trial: Trial) -> bool:
        """Whether a run of the trial may write now. What was not asked may be."""
        attempt = trial.attempt
        if attempt is None or attempt.over:
            return any(trial_id == trial.trial_id for trial_id, _ in self.tags)
        return not self.asked or any(trial_id == trial.trial_id for trial_id, _ in self.tags)


def check_trial(facts: Facts, trial: Trial, paths: ExperimentPaths, live: Liveness) -> Iterator[Finding]:
    """Everything but what the loggers write."""
    directory = paths.trial(trial.dirname)
    if trial.started_at is not None and not directory.root.is_dir():
        what = "the trial's directory is gone: its output and checkpoints are lost, its results are in the journal"
        yield Finding("deleted trial", trial.dirname, what, "what can be made from the journal is rebuilt", note=True)
    names = sorted(p.name for p in directory.root.iterdir()) if directory.root.is_dir() else []
    runs = live.may_run(trial)
    yield from _leftovers(trial, directory, names, runs)
    yield from _checkpoints(facts, trial, directory, names, runs)
    if trial.finalized:
        for name in names:
            if name == "control.json" or _RUN.fullmatch(name):
                what = "is left over from a trial that is over, and whose results are all in the journal"
                yield _found("left over", trial, name, what, "moved to quarantine", MoveAside(directory.root / name))
        return
    yield from _control(facts, trial, directory)
    yield from _run_files(trial, directory, names, live)


def _found(kind: str, trial: Trial, name: str, what: str, action: str, fix: Fix | None, note: bool = False) -> Finding:
    return Finding(kind, f"{trial.dirname}/{name}", what, action, fix, note)


# -- unfinished files -------------------------------------------------------------------------------------------


def _leftovers(trial: Trial, directory: TrialPaths, names: Sequence[str], runs: bool) -> Iterator[Finding]:
    if runs:
        return
    for name in names:
        path = directory.root / name
        if name.startswith(STAGING_PREFIX):
            yield _found("half-made checkpoint", trial, name, "its run was killed", "removed", Remove(path))
        elif name.startswith(DOOMED_PREFIX):
            yield _found("doomed checkpoint", trial, name, "was being deleted", "removed", Remove(path))
        elif _TEMPORARY.fullmatch(name):
            yield _found("left over", trial, name, "its writer was killed", "removed", Remove(path))


# -- checkpoints ------------------------------------------------------------------------------------------------------


def _checkpoints(
    facts: Facts, trial: Trial, directory: TrialPaths, names: Sequence[str], runs: bool
) -> Iterator[Finding]:
    for ref in trial.checkpoints:
        path = directory.checkpoint(ref.name)
        if not path.is_dir():
            what = "the journal has this checkpoint, the disk has not"
            done = "noted in the journal: no trial starts from it any more"
            fix = RecordEvent(e.CheckpointDeleted(trial.trial_id, ref.name))
            yield _found("lost checkpoint", trial, ref.name, what, done, fix)
        elif problem := _progress_problem(path):
            anew = WriteProgress(path, progress_of(ref, facts.checkpoint_rows.get((trial.trial_id, ref.name))))
            where = f"{ref.name}/{PROGRESS_FILE}"
            yield _found("checkpoint's progress", trial, where, problem, "made again", anew)
    yield from _start(trial, directory)
    if runs or not trial.finalized:
        return  # the run files name some that no driver has read of yet
    known = {ref.name for ref in trial.checkpoints}
    for name in names:
        if name.startswith(CHECKPOINT_PREFIX) and name not in known and (directory.root / name).is_dir():
            what = (
                "no result in the journal has it: its run was killed before it reported it, or the trial started again"
            )
            remedy = "Left as it is. If it is of no use, remove it"
            yield _found("unknown checkpoint", trial, name, what, remedy, None, note=True)


def _start(trial: Trial, directory: TrialPaths) -> Iterator[Finding]:
    """The checkpoint from which its next attempt starts, if it belongs to another trial."""
    own = {f"{trial.dirname}/{ref.name}" for ref in trial.checkpoints}
    if trial.phase.final or trial.restore is None or trial.restore in own:
        return
    if not (directory.root.parent / trial.restore).is_dir():
        what = f"is to start from {trial.restore}, which is gone: its next attempt will fail"
        remedy = "Restore it, or start the trial again after it has failed: hpctune resume DIR --restart-errored"
        yield Finding("lost checkpoint", trial.dirname, what, remedy)


def _progress_problem(checkpoint: Path) -> str:
    try:
        if (checkpoint / PROGRESS_FILE).exists():
            checkpoints.read_progress(checkpoint)
            return ""
    except CheckpointError:
        return "cannot be read: the trial could not start from this checkpoint"
    return "is missing: the trial would count its iterations from 1 again"


def progress_of(ref: CheckpointRef, row: Mapping[str, object] | None) -> checkpoints.Progress:
    """The progress that belongs to a checkpoint, from the result with which it was saved."""
    row = row or {}
    whole = {name: number(row, name) for name in ("timesteps_total", "episodes_total")}
    counts = {name: None if value is None else int(value) for name, value in whole.items()}
    return checkpoints.Progress(ref.iteration, number(row, "time_total_s") or 0.0, **counts)


# -- control and run files --------------------------------------------------------------------------------------------


def _control(facts: Facts, trial: Trial, directory: TrialPaths) -> Iterator[Finding]:
    attempt = trial.attempt
    if attempt is None or attempt.over or attempt.job_id is None:
        return
    wanted = control_of(trial, facts.spec, str(directory.root.parent))
    try:
        found = control_file.read(directory.control)
    except StorageError:
        what = "cannot be read"
    else:
        if found is not None and found.attempt >= wanted.attempt:
            return  # its orders may lag: the next driver brings them up to date
        what = "is missing" if found is None else f"is that of attempt {found.attempt}"
    action = "rebuilt from the journal"
    yield _found("control file", trial, "control.json", what, action, RepublishControl(trial.trial_id))


def _run_files(trial: Trial, directory: TrialPaths, names: Sequence[str], live: Liveness) -> Iterator[Finding]:
    for name in names:
        parts = _RUN.fullmatch(name)
        if parts is None:
            continue
        run = RunKey(trial.trial_id, int(parts[1]), int(parts[2]))
        path = Path(directory.run(run.attempt, run.restart))
        records = RunTail(path, run).read()
        ended = any(isinstance(record, Exit) for record in records)
        superseded = trial.attempt is None or trial.attempt.number != run.attempt
        quiet = ended or superseded or not live.may_run(trial)
        if not quiet:
            continue  # a last line without its end may be in the making
        if not records and not superseded:
            what = "has no claim: its run was killed at its start"
            done = "revoked: the trial continues in a new attempt"
            yield _found("unclaimed attempt", trial, name, what, done, RevokeRun(path, run))
        else:
            yield from _bad_lines(trial, path, run)


def _bad_lines(trial: Trial, path: Path, run: RunKey) -> Iterator[Finding]:
    data = path.read_bytes()
    good, bad, kinds = [], [], []
    for line in data.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            kinds.append("torn tail")
        elif line.strip() and not _parses(run, line):
            kinds.append("garbled line")
        else:
            good.append(line)
            continue
        bad.append(line)
    if bad:
        what = (
            f"{len(bad)} lines cannot be read: the run was killed, or the disk was full"
            if len(bad) > 1
            else ("a line cannot be read: the run was killed, or the disk was full")
        )
        aside = b"".join(line if line.endswith(b"\n") else line + b"\n" for line in bad)
        fix = Rewrite(path, b"".join(good), aside)
        yield _found(kinds[0], trial, path.name, what, "taken out, and kept in quarantine", fix)


def _parses(run: RunKey, line: bytes) -> bool:
    try:
        parse_record(run, json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return True
