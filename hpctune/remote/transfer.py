"""Files on their way to the cluster: only what is not there yet, in batches that arrive whole or not at all."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hpctune.common.text import count, size
from hpctune.mirror.files import blocks
from hpctune.remote.code import CodeFile
from hpctune.remote.session import Session

BATCH = 4_000_000
"""Bytes after which a new batch begins. A connection that breaks loses at most one batch."""

Say = Callable[[str], object]


def send(session: Session, files: Mapping[str, Path], missing: Sequence[str], say: Say) -> None:
    """Bring the contents with the hashes ``missing``. ``files``: where each of them is here."""
    total = sum(files[name].stat().st_size for name in missing)
    sent = 0
    for batch in _batches(files, missing):
        sent += len(batch)
        session.call("put", lambda batch=batch: _archive(files, batch))  # type: ignore[misc]
        session.traffic.files += len(batch)
        if len(missing) > len(batch):
            say(f"Sent {sent} of {count(len(missing), 'file')}, {size(total)} in all.")


def _batches(files: Mapping[str, Path], missing: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    filled = 0
    for name in missing:
        batch.append(name)
        filled += files[name].stat().st_size
        if filled >= BATCH:
            yield batch
            batch, filled = [], 0
    if batch:
        yield batch


def _archive(files: Mapping[str, Path], names: Sequence[str]) -> Iterator[bytes]:
    """A tar archive of these files, block by block."""
    for name in names:
        entry = tarfile.TarInfo(name)
        entry.size = files[name].stat().st_size
        yield entry.tobuf()
        with files[name].open("rb") as file:
            yield from blocks(file, entry.size)
        yield bytes(-entry.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def assemble(session: Session, directory: str, files: Sequence[CodeFile], project: str = "") -> str:
    """Make a directory there of contents that are there. Returns its absolute path. Repeating it changes nothing."""
    entries = [file.to_json() for file in files]
    made: str = session.call("assemble", directory=directory, files=entries, project=project)["directory"]
    return made


def sources(root: Path, files: Sequence[CodeFile]) -> dict[str, Path]:
    """Where each content is, by its hash."""
    return {file.hash: root / file.path for file in files if file.hash}
