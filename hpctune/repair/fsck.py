"""Check and repair: inspect, take the lease, repair, inspect again."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hpctune.errors import DriverAliveError, StorageError
from hpctune.repair.examine import ClusterOf, FsckOptions, Inspection, examine
from hpctune.repair.findings import FIRST, Finding, ReleaseLease, WriteLease, mendable, problems
from hpctune.repair.perform import Repairer, finish_replacing
from hpctune.repair.quarantine import Quarantine
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.lease import TAKEOVER_S, Lease, Watch
from hpctune.storage.locks import Lock

MAX_PASSES = 8
CLEAN, REPAIRED, LEFT = 0, 1, 2


@dataclass(slots=True)
class Report:
    """``done``: what was mended; ``left``: what was not; ``notes``: what needs no repair. ``refused``: why nothing was
    mended although something could be. ``kept``: the folder in quarantine, if there is one."""

    root: Path
    done: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    refused: str = ""
    kept: Path | None = None
    dry_run: bool = False

    @property
    def code(self) -> int:
        """0: nothing was wrong; 1: repaired, or only inspected; 2: some problems could not be repaired."""
        stuck = [x for x in self.left if not x.held]
        if stuck and not self.dry_run:
            return LEFT
        return REPAIRED if self.done or self.left else CLEAN

    def to_json(self) -> dict[str, Any]:
        parts = {"repaired": self.done, "left": self.left, "notes": self.notes}
        return {
            "path": str(self.root),
            "code": self.code,
            "dry_run": self.dry_run,
            "refused": self.refused or None,
            "quarantine": str(self.kept) if self.kept is not None else None,
            **{name: [finding.to_json() for finding in found] for name, found in parts.items()},
        }


def check(paths: ExperimentPaths, options: FsckOptions, cluster_of: ClusterOf) -> Report:
    """Only look."""
    look = examine(paths, options, cluster_of)
    _close(look)
    return Report(paths.root, left=problems(look.findings), notes=_notes(look), dry_run=True)


def repair(paths: ExperimentPaths, options: FsckOptions, cluster_of: ClusterOf, watch: Watch | None = None) -> Report:
    """Inspect, and repair what can be repaired, unless a driver runs."""
    watch = watch or Watch()
    look = examine(paths, options, cluster_of)
    report = Report(paths.root, left=problems(look.findings), notes=_notes(look))
    unfinished = any(x.kind == "unfinished repair" for x in look.findings)
    todo = mendable(look.findings)
    if not todo and not unfinished:
        _close(look)
        return report
    report.refused = _refusal(look)
    if report.refused:
        _close(look)
        return report
    quarantine = Quarantine(paths.root)
    repairer = Repairer(paths, quarantine)
    try:
        _mend_lease(look, repairer, paths, watch, report)
        lease = Lease(paths, time.time(), watch)
    except DriverAliveError as error:
        report.refused = str(error)
        _close(look)
        return report
    lease.keep()
    repairer.heartbeat = lambda: lease.heartbeat(time.time())
    try:
        if unfinished:
            finish_replacing(paths)
            report.done += [x for x in look.findings if x.kind == "unfinished repair"]
        report.done += [replace(x) for x in look.findings if isinstance(x.fix, ReleaseLease)]
        look = _passes(paths, options, cluster_of, repairer, report)
    finally:
        lease.release()
        _close(look)
    report.left, report.kept = problems(look.findings), quarantine.folder
    report.notes = list({(x.kind, x.where): x for x in (*report.notes, *_notes(look))}.values())
    return report


def _refusal(look: Inspection) -> str:
    if look.driven:
        return f"a driver is at work ({look.driven}): nothing was changed. Stop it first, or look again when it is done"
    if any(x.kind == "owner" and x.where == "." for x in look.findings):
        return "the experiment belongs to somebody else: nothing was changed. Its owner can repair it"
    return ""


def _mend_lease(look: Inspection, repairer: Repairer, paths: ExperimentPaths, watch: Watch, report: Report) -> None:
    """A lease that cannot be read keeps every driver out. Its holder may live: it has the lock then, or, on another
    host, writes its status and its journal."""
    broken = [x for x in look.findings if isinstance(x.fix, WriteLease)]
    if not broken:
        return
    try:
        lock = Lock(paths.lock)
    except BlockingIOError as error:
        raise DriverAliveError("a driver is at work: its lock is held. Nothing was changed") from error
    try:
        if look.facts is None or look.facts.driver_host != socket.gethostname():
            _await_no_heartbeat(paths, watch)
        repairer.mend(broken)
    finally:
        lock.release()
    report.done += broken


def _await_no_heartbeat(paths: ExperimentPaths, watch: Watch) -> None:
    before = _signs(paths)
    deadline = watch.monotonic() + TAKEOVER_S
    while watch.monotonic() < deadline:
        watch.sleep(1.0)
        if _signs(paths) != before:
            raise DriverAliveError("a driver is at work, on another host: nothing was changed")


def _signs(paths: ExperimentPaths) -> list[tuple[str, int, int]]:
    files = [paths.driver_status, paths.lease, *sorted(paths.journal.glob("*.jsonl"))]
    return [(p.name, s.st_size, s.st_mtime_ns) for p in files if p.exists() and (s := p.stat())]


def _passes(
    paths: ExperimentPaths, options: FsckOptions, cluster_of: ClusterOf, repairer: Repairer, report: Report
) -> Inspection:
    """Repair until nothing repairable is left, in order of dependency."""
    look = examine(paths, options, cluster_of, holding=True)
    for _ in range(MAX_PASSES):
        todo = mendable(look.findings)
        todo = [x for x in todo if isinstance(x.fix, FIRST)] or todo
        if not todo:
            break
        repairer.facts, repairer.loggers, repairer.cluster = look.facts, look.loggers, look.cluster
        try:
            repairer.mend(todo)
        except StorageError as error:
            report.refused = str(error)
            break
        report.done += todo
        if not isinstance(todo[0].fix, FIRST):
            options = replace(options, rebuild=False)
        _close(look)
        look = examine(paths, options, cluster_of, holding=True)
    return look


def _notes(look: Inspection) -> list[Finding]:
    return [x for x in look.findings if x.note]


def _close(look: Inspection) -> None:
    if look.cluster is not None:
        look.cluster.close()
        look.cluster = None


def worst(reports: Sequence[Report]) -> int:
    """The exit code of several."""
    return max((report.code for report in reports), default=CLEAN)
