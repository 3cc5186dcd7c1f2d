"""Files on their way to the cluster: only what is not there yet, in batches that arrive whole or not at all."""

from __future__ import annotations

import functools
import hashlib
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpctune.common.text import count, size
from hpctune.mirror.files import blocks
from hpctune.remote.session import Session
from hpctune.usercode.project import CodeFile

PIECE = 1_000_000
"""Bytes of the first batch, and of the pieces of a large file. A connection that breaks loses one batch."""
MAX_BATCH = 32_000_000
"""Bytes of the largest batch: each is twice as large as the one before, until the connection breaks."""

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Piece:
    """``length`` bytes of a file, from ``start`` on. ``hash``: of these bytes, under which they are stored."""

    hash: str
    path: Path
    start: int
    length: int


def send(session: Session, files: Mapping[str, Path], missing: Sequence[str], say: Say) -> None:
    """Bring the contents with the hashes ``missing``. ``files``: where each of them is here."""
    cut = {name: _pieces(name, files[name]) for name in missing}
    large = {name: pieces for name, pieces in cut.items() if len(pieces) > 1}
    left = [piece for name, pieces in cut.items() if name not in large for piece in pieces]
    if large:  # of an earlier try, some may be there
        of_large = {piece.hash: piece for pieces in large.values() for piece in pieces}
        left += [of_large[name] for name in session.call("look", hashes=list(of_large))["missing"]]
    total = at = sum(piece.length for piece in left)
    batch_size, losses = PIECE, session.traffic.reconnects
    while left:
        batch, left = _first(left, batch_size)
        session.call("put", functools.partial(_archive, batch))
        at -= sum(piece.length for piece in batch)
        batch_size = PIECE if session.traffic.reconnects > losses else min(2 * batch_size, MAX_BATCH)
        losses = session.traffic.reconnects
        if total > PIECE:
            say(f"Sent {size(total - at)} of {size(total)}, {count(len(missing), 'file')}.")
    for name, pieces in large.items():
        session.call("join", hash=name, pieces=[piece.hash for piece in pieces])
    session.traffic.files += len(missing)


def _pieces(name: str, path: Path) -> list[Piece]:
    """The pieces of a file; a small one is one piece, with its own hash."""
    length = path.stat().st_size
    if length <= PIECE:
        return [Piece(name, path, 0, length)]
    with path.open("rb") as file:
        bodies = iter(lambda: file.read(PIECE), b"")
        return [Piece(hashlib.sha256(b).hexdigest(), path, i * PIECE, len(b)) for i, b in enumerate(bodies)]


def _first(pieces: list[Piece], limit: int) -> tuple[list[Piece], list[Piece]]:
    """The first pieces, of ``limit`` bytes in all or one, and the others."""
    taken, filled = 0, 0
    for piece in pieces:
        filled += piece.length
        if taken and filled > limit:
            break
        taken += 1
    return pieces[:taken], pieces[taken:]


def _archive(pieces: Sequence[Piece]) -> Iterator[bytes]:
    """A tar archive of these pieces, block by block."""
    for piece in pieces:
        entry = tarfile.TarInfo(piece.hash)
        entry.size = piece.length
        yield entry.tobuf()
        with piece.path.open("rb") as file:
            file.seek(piece.start)
            yield from blocks(file, piece.length)
        yield bytes(-piece.length % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def assemble(session: Session, directory: str, files: Sequence[CodeFile], project: str = "") -> str:
    """Make a directory there of contents that are there. Returns its absolute path. Repeating it changes nothing."""
    entries = [file.to_json() for file in files]
    made: str = session.call("assemble", directory=directory, files=entries, project=project)["directory"]
    return made


def sources(root: Path, files: Sequence[CodeFile]) -> dict[str, Path]:
    """Where each content is, by its hash."""
    return {file.hash: root / file.path for file in files if file.hash}
