"""What a trial is told about its checkpoints, each once a run: what was left out, and that they grow."""

from __future__ import annotations

from pathlib import Path

from hpctune.common.log import log
from hpctune.common.text import size
from hpctune.storage.checkpoints import Saved

GROWING = 3
"""Checkpoints in a row that must each be larger than the one before."""
LARGE = 1 << 20
"""Bytes; a checkpoint with as many files as before is not mentioned below this size."""


class CheckpointNotes:
    """Watches the checkpoints of one run."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._first: tuple[int, Saved] | None = None
        self._last: Saved | None = None
        self._grown = 0

    def take(self, source: Path, saved: Saved, iteration: int) -> None:
        """Look at a new checkpoint, made of ``source``."""
        for kind, note in saved.notes.items():
            self._tell(kind, note)
        self._watch(source, saved, iteration)

    def _watch(self, source: Path, saved: Saved, iteration: int) -> None:
        last, self._last = self._last, saved
        if self._first is None or last is None or (saved.files, saved.bytes) <= (last.files, last.bytes):
            self._first, self._grown = (iteration, saved), 0
            return
        self._grown += 1
        before, first = self._first
        more_files = saved.files >= 2 * first.files
        if self._grown >= GROWING and (more_files or saved.bytes >= max(LARGE, 2 * first.bytes)):
            self._tell(
                "grows",
                f"the checkpoints of this trial grow with each report: {_what(first)} at iteration {before}, "
                f"{_what(saved)} at iteration {iteration}. Files of earlier reports seem to stay in {source}. Save "
                "into a new directory for each report, or remove what is old.",
            )

    def _tell(self, kind: str, note: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            log.warning(f"hpctune: {note}")


def _what(saved: Saved) -> str:
    return f"{saved.files} files, {size(saved.bytes)}"
