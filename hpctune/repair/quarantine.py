"""``quarantine/``: the folder for files that a repair removes. One folder per repair, with the reasons."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hpctune.errors import StorageError
from hpctune.storage import values

DIRECTORY = "quarantine"
REASONS = "reasons.jsonl"


class Quarantine:
    """The folder ``quarantine/NNNN`` of one repair; made when it is needed first."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.folder: Path | None = None

    def keep(self, path: Path, why: str) -> None:
        """Move ``path``, a file of the experiment, there."""
        target = self._target(path.relative_to(self._root))
        path.rename(target)
        self._note(path, target, why)

    def keep_bytes(self, path: Path, data: bytes, why: str) -> None:
        """Write there what was removed from ``path``."""
        target = self._target(path.relative_to(self._root))
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        self._note(path, target, why)

    def _target(self, relative: Path) -> Path:
        folder = self._made()
        target = folder / relative
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = 1
        while target.exists():
            number += 1
            target = folder / relative.with_name(f"{relative.name}.{number}")
        return target

    def _made(self) -> Path:
        if self.folder is None:
            place = self._root / DIRECTORY
            place.mkdir(mode=0o700, exist_ok=True)
            for number in range(1, 10000):
                try:
                    (place / f"{number:04d}").mkdir(mode=0o700)
                except FileExistsError:
                    continue
                self.folder = place / f"{number:04d}"
                return self.folder
            raise StorageError(f"{place} is full. Look through it and remove what you do not need.")
        return self.folder

    def _note(self, path: Path, kept: Path, why: str) -> None:
        assert self.folder is not None
        entry = {"at": time.time(), "path": str(path.relative_to(self._root)), "why": why}
        entry["kept"] = str(kept.relative_to(self.folder))
        fd = os.open(self.folder / REASONS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(values.dumps(entry) + "\n")
