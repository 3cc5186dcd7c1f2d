"""How far a mirror is behind, as a small file that ``hpctune status`` reads."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass

from hpctune.common.text import duration, size
from hpctune.storage import atomic
from hpctune.storage.layout import ExperimentPaths

NAME = "mirror_status.json"


@dataclass(frozen=True, slots=True)
class MirrorStatus:
    """``complete_at``: when the mirror last had everything (Unix seconds; 0: never). ``error``: why the last pass
    failed, "" if it did not; ``since``: when this began; ``failures``: passes since then. ``files``, ``bytes``: what
    the mirror holds. ``began``: when the pass that runs began; 0: none runs."""

    url: str
    complete_at: float = 0.0
    error: str = ""
    since: float = 0.0
    files: int = 0
    bytes: int = 0
    began: float = 0.0
    failures: int = 0

    def describe(self, now: float) -> str:
        """One line about it."""
        if not self.complete_at:
            state = "nothing is there yet"
        else:
            state = (
                f"complete {duration(max(0.0, now - self.complete_at))} ago, {self.files} files of {size(self.bytes)}"
            )
        if self.began:
            state += f"; copying for {duration(max(0.0, now - self.began))}"
        if self.error:
            state += f"; failing for {duration(max(0.0, now - self.since))}: {self.error}"
        return f"{self.url}: {state}"


def read(paths: ExperimentPaths) -> MirrorStatus | None:
    """The status; None if there is none."""
    try:
        told = json.loads((paths.root / NAME).read_bytes())
        return MirrorStatus(**{name: told[name] for name in MirrorStatus.__dataclass_fields__ if name in told})
    except (OSError, ValueError, TypeError):
        return None


def write(paths: ExperimentPaths, status: MirrorStatus) -> None:
    """Write it. A directory that cannot be written is no obstacle."""
    with contextlib.suppress(OSError):
        atomic.write(paths.root / NAME, json.dumps(asdict(status)))
