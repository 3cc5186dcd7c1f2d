"""Empty output files that serve one trial of a worker after the other: most trials write nothing to theirs.

Each has a name in the worker's directory. A trial's output file is a second name (a hard link) for it, from before the
trial begins, so what is written is seen at once and survives whatever is killed. The driver removes that name when the
trial is over and has written nothing. A file that is empty and has no name but ours is nobody's: it serves the next.
Making and removing two files for each short trial is what this saves.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from hpctune.storage import access
from hpctune.storage.poolfiles import BLANK

MOST = 256
"""Files that are kept at most: as many as short trials need until the driver has removed their names."""
_TRIED = 3


class Blanks:
    """Those of start ``run`` of a worker, in ``directory``. Where there are no links, trials make their files."""

    def __init__(self, directory: Path, run: int) -> None:
        self._directory, self._run = directory, run
        self._known: deque[Path] = deque()
        self._made = 0

    def lend(self, paths: Iterable[str]) -> None:
        """Let ``paths`` be empty files, unless they are there already."""
        for path in paths:
            with contextlib.suppress(OSError):
                if not os.path.lexists(path):
                    blank = self._free() or self._new()
                    self._known.append(blank)
                    os.link(blank, path)

    def _free(self) -> Path | None:
        """One that is nobody's, among those that were lent the longest time ago."""
        for _ in range(min(_TRIED, len(self._known))):
            blank = self._known.popleft()
            status = blank.stat()
            if status.st_size == 0 and status.st_nlink == 1:
                return blank
            if status.st_size == 0 and len(self._known) < MOST:
                self._known.append(blank)
            else:
                blank.unlink()  # what a trial has written keeps its own name
        return None

    def _new(self) -> Path:
        self._made += 1
        blank = self._directory / f"{BLANK}{self._run}-{self._made}"
        os.close(access.open_to_append(blank))
        return blank
