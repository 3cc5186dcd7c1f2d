"""Which files of an experiment are mirrored, in which order, and how much of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hpctune.model.events import CheckpointDeleted
from hpctune.storage.layout import CHECKPOINT_PREFIX, ExperimentPaths

_LEFT_OUT = frozenset({
    "doorbell.json", "driver.json", "driver.lock", "drivers", "inbox.jsonl", "inbox.lock", "jobs", "lease.json",
    "mirror.json", "mirror_status.json", "quarantine", "workers",
})  # fmt: skip
"""What belongs to this machine's driver and jobs."""
_OF_A_TRIAL = ("result.json", "progress.csv", "params.json", "params.pkl", "error.txt", "note.txt", "stdout", "stderr")
_BLOCK = 1 << 20
_DELETED = f'"{CheckpointDeleted.__name__}"'.encode()
LISTINGS = 10
"""How often the files are listed if checkpoints are deleted each time meanwhile."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to be mirrored: its path in the experiment, and how many bytes of it (those that are there now)."""

    name: str
    path: str
    size: int
    seen: tuple[int, int]

    @property
    def is_journal(self) -> bool:
        return self.name.startswith("journal/")


def never_changes(name: str) -> bool:
    """Whether a file stays as it was first written: one of a checkpoint, of the code, or an object."""
    return f"/{CHECKPOINT_PREFIX}" in f"/{name}" or name.startswith(("objects/", "code/"))


def listed(paths: ExperimentPaths, *, artifacts: bool) -> list[LocalFile]:
    """The files as they are now, in the order in which they are copied: what the journal refers to before the journal.

    The journal is looked at first. So all that its events name is in this list, unless it has been removed meanwhile.
    If another process is the driver, it may remove checkpoints now: then the files are listed again, up to LISTINGS
    times. ``artifacts``: include files that hpctune does not know.
    """
    root = str(paths.root)
    for _ in range(LISTINGS):
        journal = [LocalFile(j.name, j.path, _whole_lines(j.path, j.size), j.seen) for j in _files(root, "journal")]
        before = _before_the_journal(root, artifacts)
        if not _deleted_since(root, journal):
            break
    return [*before, *journal]


def _deleted_since(root: str, journal: list[LocalFile]) -> bool:
    """Whether the journal has become longer by an event that says that a checkpoint was deleted."""
    known = {file.name: file.size for file in journal}
    for file in _files(root, "journal"):
        with contextlib.suppress(OSError), Path(file.path).open("rb") as added:
            added.seek(known.get(file.name, 0))
            if any(_DELETED in line for line in added):
                return True
    return False


def _before_the_journal(root: str, artifacts: bool) -> list[LocalFile]:
    code, checkpoints = list[LocalFile](), list[LocalFile]()
    logs, last = list[LocalFile](), list[LocalFile]()
    for entry in _entries(root):
        if entry.name in _LEFT_OUT or entry.name == "journal" or entry.name.startswith("."):
            continue
        if not entry.is_dir(follow_symlinks=False):
            (last if entry.name == "experiment.json" else code).extend(_file(entry, entry.name))
        elif entry.name in ("code", "objects"):
            code += _files(root, entry.name)
        else:
            for inner in _entries(entry.path):
                name = f"{entry.name}/{inner.name}"
                if inner.name.startswith((".", "run-")) or inner.name == "control.json":
                    continue
                if inner.is_dir(follow_symlinks=False):
                    if inner.name.startswith(CHECKPOINT_PREFIX):
                        checkpoints += _files(root, name)
                    elif artifacts:
                        logs += _files(root, name)
                elif artifacts or inner.name in _OF_A_TRIAL or inner.name.startswith("events.out."):
                    logs += _file(inner, name)
    return [*code, *checkpoints, *logs, *last]


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(directory), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _files(root: str, name: str) -> Iterator[LocalFile]:
    """All files below a directory of the experiment."""
    for entry in _entries(f"{root}/{name}"):
        inner = f"{name}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _files(root, inner)
        else:
            yield from _file(entry, inner)


def _file(entry: os.DirEntry[str], name: str) -> list[LocalFile]:
    """The file, or what a link to a file contains; nothing for other kinds."""
    try:
        if not entry.is_file():
            return []
        status = entry.stat()
    except OSError:
        return []
    return [LocalFile(name, entry.path, status.st_size, (status.st_mtime_ns, status.st_ino))]


def _whole_lines(path: str, size: int) -> int:
    """The bytes up to the end of the last whole line."""
    with Path(path).open("rb") as file:
        end = size
        while end > 0:
            begin = max(0, end - _BLOCK)
            file.seek(begin)
            at = file.read(end - begin).rfind(b"\n")
            if at >= 0:
                return begin + at + 1
            end = begin
    return 0


def checksum(path: str | Path, size: int) -> int:
    """The CRC-32C of the first ``size`` bytes. Raises OSError, EOFError if the file is shorter."""
    import google_crc32c

    crc = read = 0
    with Path(path).open("rb") as file:
        for block in blocks(file, size):
            crc = google_crc32c.extend(crc, block)
            read += len(block)
    if read < size:
        raise EOFError(f"{path} has become shorter while it was read")
    return crc


def blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The next ``size`` bytes of a file, in blocks; fewer if it ends before."""
    left = size
    while left > 0 and (block := file.read(min(left, _BLOCK))):
        yield block
        left -= len(block)
