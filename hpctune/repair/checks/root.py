"""Checks of the experiment's own directory, besides journal and trials: lease, inbox, driver status, leftovers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hpctune.driver import status_file
from hpctune.errors import StorageError
from hpctune.repair.checks.worker import entries
from hpctune.repair.facts import Facts
from hpctune.repair.findings import Finding, MoveAside, ReleaseLease, Remove, Rewrite, WriteLease
from hpctune.storage import lease
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.lease import Holder

_TEMPORARY = re.compile(r"\..*\.(\d+\.tmp|[0-9a-f]{12}\.new)|\.renewed-\d+|\.[0-9a-f]{32}\.sh")


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """``alive``: whether a driver runs; None if only waiting could tell. ``damage``: the lease cannot be read."""

    holder: Holder | None
    alive: bool | None
    damage: str = ""

    @property
    def who(self) -> str:
        """In words."""
        return self.holder.describe() if self.holder is not None else "a process that has not written its lease yet"


def see_lease(paths: ExperimentPaths) -> LeaseSeen:
    """The driver, as far as can be determined without waiting and without a lock."""
    try:
        holder = lease.read(paths)
        if holder is None:
            return LeaseSeen(None, False)
        return LeaseSeen(holder, lease.alive(holder, now=time.time(), mtime=paths.lease.stat().st_mtime))
    except (StorageError, FileNotFoundError) as error:
        return LeaseSeen(None, None, str(error))


def check_lease(seen: LeaseSeen, epoch: int) -> Iterator[Finding]:
    """``epoch``: the highest epoch in the journal."""
    if seen.damage:
        what = "cannot be read: no driver could start"
        yield Finding("lease", "lease.json", what, "written again, the old one kept in quarantine", WriteLease(epoch))
    elif seen.holder is not None and not seen.holder.released and not seen.alive:
        sure = "is gone" if seen.alive is False else "gives no sign of life"
        what = f"its holder {sure}: {seen.who}"
        yield Finding("stale lease", "lease.json", what, "given back", ReleaseLease())


def check_root(paths: ExperimentPaths, facts: Facts) -> Iterator[Finding]:
    """Checks of commands, driver status, and files of killed writers. Only if no driver runs."""
    yield from _inbox(paths)
    if paths.driver_status.exists() and status_file.read(paths) is None:
        what = "cannot be read; it holds only the status of the last driver"
        yield Finding(
            "driver status", paths.driver_status.name, what, "moved to quarantine", MoveAside(paths.driver_status)
        )
    for directory in (
        paths.root, paths.journal, paths.jobs, paths.drivers, paths.workers, *entries(paths.workers)
    ):  # fmt: skip
        for path in entries(directory):
            if _TEMPORARY.fullmatch(path.name):
                where = str(path.relative_to(paths.root))
                yield Finding("left over", where, "its writer was killed", "removed", Remove(path))
    known = {trial.dirname for trial in facts.state.trials.values()}
    for path in sorted(paths.root.iterdir()):
        if path.is_dir() and path.name not in known and any(path.glob("run-*.jsonl")):
            what = "looks like a trial's directory, and no trial in the journal has it"
            yield Finding("unknown trial", path.name, what, "Left as it is: no command reads it", note=True)


def _inbox(paths: ExperimentPaths) -> Iterator[Finding]:
    try:
        data = paths.inbox.read_bytes()
    except FileNotFoundError:
        return
    good: list[bytes] = []
    bad: list[bytes] = []
    for line in data.splitlines(keepends=True):
        (good if line.endswith(b"\n") and _is_command(line) else bad).append(line)
    if bad:
        what = f"{len(bad)} of its lines cannot be read and were ignored: run hpctune stop again"
        fix = Rewrite(paths.inbox, b"".join(good), b"".join(line.rstrip(b"\n") + b"\n" for line in bad))
        yield Finding("garbled line", paths.inbox.name, what, "taken out, and kept in quarantine", fix)


def _is_command(line: bytes) -> bool:
    if not line.strip():
        return True
    try:
        data = json.loads(line)
        return isinstance(data["id"], str) and isinstance(data["action"], str) and isinstance(data["targets"], list)
    except (ValueError, KeyError, TypeError):
        return False
