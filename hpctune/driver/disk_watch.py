"""Watches the space for checkpoints: what the filesystem has left, and the limits of the experiment."""

from __future__ import annotations

import threading
from pathlib import Path

from hpctune.common.text import count, size
from hpctune.core.retention import spare_of_all, starting_points
from hpctune.core.state import ExperimentState
from hpctune.storage import free_space
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.quota import has_quota_command, quota_left

LOOK_S = 60.0
"""Seconds between two looks."""
QUOTA_S = 600.0
"""Seconds between two questions for the quota, which the file server answers."""
ROUNDS = 2
"""The filesystem is nearly full if it has no room for this many more checkpoints of each trial that has a job."""


class DiskWatch:
    """``note``: what the user should know about the space for checkpoints; "" if there is enough."""

    def __init__(self, paths: ExperimentPaths) -> None:
        self._paths, self._looked_at, self._asked_at = paths, float("-inf"), float("-inf")
        self._quota = Quota(paths.root)
        self.note = ""

    def look(self, state: ExperimentState, now: float) -> bool:
        """Look again if it is time. Returns whether there is a note that was not there before."""
        if 0 <= now - self._looked_at < LOOK_S:
            return False
        self._looked_at, before = now, self.note
        if not 0 <= now - self._asked_at < QUOTA_S:
            self._asked_at = now
            self._quota.ask()
        rooms = {"your quota": self._quota.left, "the filesystem": free_space.free_bytes(self._paths.root)}
        known = {place: room for place, room in rooms.items() if room is not None}
        least = min(known, key=lambda place: known[place], default="")
        notes = (_space(state, least, known[least]) if known else "", _limits(state))
        self.note = "; ".join(filter(None, notes))
        return bool(self.note) and not before


class Quota:
    """``left``: the bytes that the user's quota left when it was last asked; None if that is not known (yet)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asking: threading.Thread | None = None
        self.left: int | None = None

    def ask(self) -> None:
        """Ask in a thread, because a file server may not answer. While one question is open there is no other."""
        if has_quota_command() and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(target=self._ask, name="hpctune-quota", daemon=True)
            self._asking.start()

    def _ask(self) -> None:
        self.left = quota_left(self._path)


def _space(state: ExperimentState, place: str, free: int) -> str:
    """The note if there is hardly any room, measured by the newest checkpoints of the trials that have jobs."""
    if not state.live:
        return ""
    sizes = [t.newest_checkpoint.bytes or 0 for t in state.active_trials() if t.newest_checkpoint is not None]
    largest = max(sizes, default=0)
    if not largest or free >= ROUNDS * state.live * largest:
        return ""
    return (
        f"{place} has {size(free)} left, room for {count(free // largest, 'checkpoint')} of {size(largest)}. "
        "Delete files, or keep fewer: CheckpointConfig(num_to_keep=..., max_total_bytes=...)"
    )


def _limits(state: ExperimentState) -> str:
    """The note if the experiment cannot keep to its limits."""
    policy, totals = state.spec.checkpoint, state.checkpoints
    over = []
    if policy.max_total is not None and totals.count > policy.max_total:
        over.append(f"{totals.count} checkpoints, max_total_checkpoints={policy.max_total}")
    if policy.max_total_bytes is not None and totals.bytes > policy.max_total_bytes:
        over.append(f"{size(totals.bytes)} of checkpoints, max_total_bytes={size(policy.max_total_bytes)}")
    if not over or spare_of_all(state, starting_points(state)):
        return ""
    known = "" if state.spec.metric is not None else "; without metric= it is not known which trials are the best"
    return f"{', '.join(over)}: the others are needed to go on, or belong to the best trials{known}"
