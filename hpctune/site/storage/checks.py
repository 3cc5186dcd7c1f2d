"""Interpretation of the filesystem's answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpctune.common.text import size
from hpctune.site.findings import Advice, Check, Mark, seconds
from hpctune.site.node.facts import NodeFacts
from hpctune.site.storage.facts import StorageFacts
from hpctune.storage.lease import TAKEOVER_S

NETWORK = frozenset({
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph", "fuse.sshfs", "cifs", "smb3", "panfs", "glusterfs",
    "fuse.glusterfs", "orangefs", "pvfs2", "afs", "wekafs", "9p", "virtiofs", "vast",
})  # fmt: skip
GIB = 2**30
LITTLE_BYTES, LITTLE_INODES = 5 * GIB, 20_000
WAITS_FOR_FILES_S = 60.0
"""How long a worker waits for what the driver wrote before it submitted."""
_LAG_OK_S = 2.0
_SKEW_OK_S = 5.0


def judge_storage(facts: StorageFacts, *, shared: bool) -> Advice:
    """What was tried out here. ``shared``: jobs run on other machines."""
    area = f"Storage {facts.path}"
    if facts.trouble:
        return Advice((Check(area, "fail", facts.trouble, "Choose another place with --dir or HPCTUNE_RESULT_DIR."),))
    checks = [_kind(area, facts, shared), *_operations(area, facts), _locks(area, facts), _space(area, facts)]
    if facts.quota:
        checks.append(Check(area, "info", f"quota: {facts.quota}"))
    if abs(facts.clock_ahead_s) > _SKEW_OK_S:
        way = "ahead" if facts.clock_ahead_s > 0 else "behind"
        what = f"the file server's clock is {seconds(abs(facts.clock_ahead_s))} {way}"
        checks.append(Check(area, "info", what, "hpctune compares no times of files between machines."))
    slow: Mark = "warn" if facts.sync_s > 0.2 else "ok"
    meaning = "" if slow == "ok" else "Each driver syncs once a second; report less often than that."
    checks.append(Check(area, slow, f"a synced append takes {seconds(facts.sync_s)}", meaning))
    return Advice(tuple(checks))


def _kind(area: str, facts: StorageFacts, shared: bool) -> Check:
    found = f"{facts.kind} ({facts.source})" if facts.source and facts.source != facts.kind else facts.kind
    if facts.kind == "tmpfs":
        return Check(
            area,
            "fail" if shared else "warn",
            found,
            "It is memory: gone with the next reboot, and seen by no other node.",
        )
    if shared and facts.kind not in NETWORK:
        return Check(area, "info", found, "It looks like a disk of this machine; whether nodes see it, the job tells.")
    if facts.kind in ("nfs", "nfs4") and "nolock" in facts.options.split(","):
        return Check(
            area, "warn", f"{found}, mounted with nolock", "Locks hold on one machine only; the lease does the rest."
        )
    return Check(area, "ok", found)


def _operations(area: str, facts: StorageFacts) -> list[Check]:
    checks = []
    if facts.rename:
        checks.append(Check(area, "fail", f"rename does not work: {facts.rename}", "hpctune cannot work here."))
    if facts.exclusive:
        checks.append(
            Check(area, "fail", f"exclusive create does not work: {facts.exclusive}", "hpctune cannot work here.")
        )
    if facts.links:
        what = f"no hard links ({facts.links})"
        checks.append(Check(area, "info", what, "Exclusive create is used instead."))
    return checks or [Check(area, "ok", "rename, exclusive create and links work")]


def _locks(area: str, facts: StorageFacts) -> Check:
    flock, fcntl = facts.locks.get("flock", "?"), facts.locks.get("fcntl", "?")
    if flock == "blocked":
        extra = "" if fcntl == "blocked" else f" (fcntl: {fcntl})"
        return Check(area, "ok", f"file locks (flock) work between processes{extra}")
    if flock == "acquired":
        meaning = "Two drivers on one machine are told apart by the lease file alone: start one at a time."
        return Check(area, "warn", "file locks are granted twice", meaning)
    meaning = "hpctune needs flock to guard the lease. On Lustre: mount with -o flock. Or choose another filesystem."
    return Check(area, "fail", f"file locks (flock) do not work: {flock.removeprefix('error: ')}", meaning)


def _space(area: str, facts: StorageFacts) -> Check:
    found = f"{size(facts.free_bytes)} of {size(facts.total_bytes)} free"
    mark: Mark = "ok"
    if facts.total_inodes:
        found += f", {facts.free_inodes:,} inodes free"
    if facts.free_bytes < LITTLE_BYTES or (facts.total_inodes and facts.free_inodes < LITTLE_INODES):
        mark = "warn"
    meaning = "A trial takes about 8 inodes, and its checkpoints; CheckpointConfig(num_to_keep=...) bounds those."
    return Check(area, mark, found, meaning if mark != "ok" else "")


# -- seen from a node -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visibility:
    """Maximum seconds until the other side saw a change, by kind of change; None: not within the limit."""

    there: Mapping[str, float | None]
    back: Mapping[str, float | None]

    @property
    def longest(self) -> float | None:
        """The maximum over all; None if some change was never seen."""
        every = [*self.there.values(), *self.back.values()]
        return None if None in every or not every else max(v for v in every if v is not None)


def judge_shared(visibility: Visibility | None, node: NodeFacts) -> Advice:
    """Whether the directory is one and the same there."""
    area = "Shared directory, seen from the node"
    checks = []
    if visibility is not None:
        checks.append(_visibility(area, visibility))
    checks += [_lock_there(area, how, node.locks.get(how)) for how in ("flock", "fcntl") if how in node.locks]
    if node.races:
        twice = node.races_twice
        if twice:
            checks.append(Check(area, "fail", f"{twice} of {node.races} files were created exclusively by both sides",
                                "Two runs could claim one trial. hpctune cannot work here."))  # fmt: skip
        else:
            checks.append(Check(area, "ok", f"exclusive create: one winner in {node.races} races"))
    return Advice(tuple(checks))


def _visibility(area: str, visibility: Visibility) -> Check:
    def words(delays: Mapping[str, float | None]) -> str:
        return ", ".join(f"{kind} {'never' if v is None else seconds(v)}" for kind, v in delays.items())

    found = f"seen there after: {words(visibility.there)}; seen here after: {words(visibility.back)}"
    longest = visibility.longest
    if longest is None or longest > WAITS_FOR_FILES_S:
        patience = f"A worker waits {WAITS_FOR_FILES_S:.0f} s for its files"
        meaning = f"{patience}: trials would not start. Choose another filesystem."
        return Check(area, "fail", found, meaning)
    if longest > _LAG_OK_S:
        meaning = (
            f"Results and orders are late by up to {seconds(longest)}; nothing is lost. Report less often than that."
        )
        return Check(area, "warn", found, meaning)
    return Check(area, "ok", found)


def _lock_there(area: str, how: str, said: str | None) -> Check:
    if said == "blocked":
        return Check(area, "ok", f"a lock held here ({how}) is seen there")
    if how == "fcntl":
        return Check(area, "info", f"a lock held here (fcntl) is not seen there: {said}", "hpctune does not use it.")
    meaning = (
        f"Locks do not reach across nodes: the lease decides; taking over from another host takes {TAKEOVER_S:g} s."
    )
    return Check(area, "warn", f"a lock held here ({how}) is not seen there: {said}", meaning)
