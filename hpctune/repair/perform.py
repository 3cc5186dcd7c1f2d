"""Carrying out repairs: every write of a repair is here. Only while holding the lease."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from hpctune.core.plan import control_of
from hpctune.errors import StorageError
from hpctune.model import events as e
from hpctune.ports import Cluster
from hpctune.repair import findings as f
from hpctune.repair.derived import LoggerMaker, project
from hpctune.repair.facts import Facts
from hpctune.repair.quarantine import Quarantine
from hpctune.storage import atomic, checkpoints, control_file, run_file, values
from hpctune.storage.journal import Journal
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.lease import Holder
from hpctune.storage.ownership import PROGRESS_FILE

MENDED_JOURNAL = ".journal.mended"
"""A complete new journal. If it exists and the journal does not, a repair was killed between two renames."""


class Repairer:
    """Repairs one experiment. ``facts``, ``loggers``, ``cluster``: as of the newest inspection. ``heartbeat``: called
    between two repairs, so that the lease is not taken over."""

    def __init__(self, paths: ExperimentPaths, quarantine: Quarantine) -> None:
        self._paths, self._quarantine = paths, quarantine
        self.facts: Facts | None = None
        self.loggers: Sequence[LoggerMaker] = ()
        self.cluster: Cluster | None = None
        self.heartbeat: Callable[[], None] = lambda: None

    def mend(self, found: Sequence[f.Finding]) -> None:
        """Carry out what these findings need, each fix once; what the journal lacks in one go. Raises StorageError."""
        done: list[f.Fix] = []
        events: list[e.Event] = []
        for finding in found:
            fix = finding.fix
            if fix is None or any(fix is d for d in done):
                continue
            done.append(fix)
            self.heartbeat()
            if isinstance(fix, f.RecordEvent):
                events.append(fix.event)
                continue
            try:
                self._one(fix, f"{finding.kind}: {finding.what}")
            except OSError as error:
                raise StorageError(f"Cannot repair {finding.where}: {error.strerror or error}.") from error
        if events:
            self._record(events)

    def _one(self, fix: f.Fix, why: str) -> None:
        match fix:
            case f.Rewrite():
                self._quarantine.keep_bytes(fix.path, fix.aside, why)
                atomic.write(fix.path, fix.data, durable=True)
            case f.MoveAside():
                self._quarantine.keep(fix.path, why)
            case f.Remove():
                shutil.rmtree(fix.path) if fix.path.is_dir() else fix.path.unlink(missing_ok=True)
            case f.SetMode():
                fix.path.chmod(fix.mode)
            case f.ReplaceJournal():
                self._replace_journal(fix, why)
            case f.RepublishControl():
                self._publish(fix.trial_id, why)
            case f.RebuildFiles():
                self._rebuild(fix, why)
            case f.RebuildPolicyLog():
                assert self.facts is not None
                for name in fix.names:
                    self._renew(self._paths.root / name, self.facts.policy_files[name], why)
            case f.WriteProgress():
                self._progress(fix, why)
            case f.RevokeRun():
                self._quarantine.keep(fix.path, why)
                run_file.revoke(fix.path, fix.run, time.time())
            case f.CancelJobs():
                if self.cluster is not None:
                    self.cluster.cancel(fix.job_ids)
            case f.WriteLease():
                self._quarantine.keep(self._paths.lease, why)
                left = Holder(socket.gethostname(), os.getpid(), time.time(), fix.epoch, released=True)
                atomic.write(self._paths.lease, values.dumps(asdict(left)) + "\n", durable=True)
            case f.ReleaseLease() | f.RecordEvent():
                pass  # the lease is given back at the end; facts are recorded together

    def _record(self, events: Sequence[e.Event]) -> None:
        journal = Journal(self._paths.journal)
        try:
            now = time.time()
            journal.append([[e.Recorded(now, event)] for event in events])
        finally:
            journal.close()

    def _replace_journal(self, fix: f.ReplaceJournal, why: str) -> None:
        """By two renames; :func:`finish_replacing` does the second one if the first was the last that was done."""
        made = self._paths.root / MENDED_JOURNAL
        draft = self._paths.root / f"{MENDED_JOURNAL}.tmp"
        for old in (made, draft):
            shutil.rmtree(old, ignore_errors=True)
        draft.mkdir(mode=0o700)
        for name, data in fix.segments.items():
            atomic.write(draft / name, data, durable=True)
        draft.rename(made)
        atomic.sync_directory(self._paths.root)
        self._quarantine.keep(self._paths.journal, why)
        finish_replacing(self._paths)

    def _publish(self, trial_id: str, why: str) -> None:
        assert self.facts is not None
        trial = self.facts.trial(trial_id)
        path = Path(self._paths.trial(trial.dirname).control)
        if path.exists():
            self._quarantine.keep(path, why)
        control_file.publish(path, control_of(trial, self.facts.spec, str(self._paths.root)))

    def _rebuild(self, fix: f.RebuildFiles, why: str) -> None:
        assert self.facts is not None
        with tempfile.TemporaryDirectory(prefix="hpctune-fsck-") as scratch:
            wanted = project(self.facts, fix.trial_id, self.loggers, Path(scratch))
        root = self._paths.trial(self.facts.trial(fix.trial_id).dirname).root
        if root.exists() and not root.is_dir():
            self._quarantine.keep(root, why)
        root.mkdir(mode=0o700, exist_ok=True)
        for name in fix.names:
            self._renew(root / name, wanted[name], why)

    def _renew(self, path: Path, data: bytes, why: str) -> None:
        """Write ``data`` to ``path``; keep its old content, except a common beginning, in quarantine."""
        if path.exists() and not (path.is_file() and data.startswith(path.read_bytes())):
            self._quarantine.keep(path, why)
        atomic.write(path, data)

    def _progress(self, fix: f.WriteProgress, why: str) -> None:
        path = fix.path / PROGRESS_FILE
        if path.exists():
            self._quarantine.keep(path, why)
        checkpoints.write_progress(fix.path, fix.progress)


def finish_replacing(paths: ExperimentPaths) -> None:
    """Move a repaired journal into place, if an earlier repair was killed before it could."""
    made = paths.root / MENDED_JOURNAL
    if made.is_dir() and not paths.journal.exists():
        made.rename(paths.journal)
        atomic.sync_directory(paths.root)
