"""Output of the job, and the files that user code writes in the trial's directory."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from hpctune.common.log import log
from hpctune.file_transfer.entry import draft_name, file_mode, is_shared, mode_in
from hpctune.file_transfer.place import Place
from hpctune.file_transfer.server import Server
from hpctune.storage import ownership
from hpctune.storage.permissions import PRIVATE_FILE

OWN_FILES_S = 30.0
"""Seconds between two looks at the files of user code."""
_BLOCK = 1 << 20
_CACHE = "__pycache__"
"""Python's compiled modules, which it makes again on another machine."""

Seen = tuple[int, int] | str
"""Size and time of a file, or the text of a link."""


class OutputCopy:
    """Output on this node that is added to a file on the driver's host."""

    def __init__(self, server: Server, local: Path, there: str) -> None:
        self._server, self._local, self._there = server, local, there
        self._start: int | None = None
        """Bytes that were there before."""
        self._sent, self._mode = 0, PRIVATE_FILE

    def copy(self) -> None:
        """Copy what is new."""
        if self._there == os.devnull:
            return
        while data := self._new():
            if self._start is None:
                self._start = self._size_there()
                self._mode = mode_in(self._server.entry(os.path.dirname(self._there)))
            self._server.write_at(self._there, self._start + self._sent, data, create=self._mode)
            self._sent += len(data)

    def _new(self) -> bytes:
        try:
            with self._local.open("rb") as file:
                file.seek(self._sent)
                return file.read(_BLOCK)
        except FileNotFoundError:
            return b""

    def _size_there(self) -> int:
        try:
            return self._server.entry(self._there).size
        except FileNotFoundError:
            return 0


class OwnFiles:
    """The files of user code in the trial's directory: each is copied when it has not changed between two looks, and at
    the end. Files that user code removes stay on the driver's host."""

    def __init__(self, server: Server, place: Place) -> None:
        self._server, self._place = server, place
        self._outputs = {os.path.basename(place.stdout), os.path.basename(place.stderr)}
        self._there: dict[str, Seen] = {}
        self._seen: dict[str, Seen] = {}
        self._drafts: dict[str, str] = {}
        """The names there of files that are not whole yet."""
        self._left_out: set[str] = set()
        """Names that SFTP cannot say."""
        self._looked_at = time.monotonic()

    def begin(self) -> None:
        """What is here now has come from there."""
        self._there = dict(self._found())

    def copy(self, *, to_the_end: bool = False) -> None:
        """Copy what has changed, if a look is due."""
        if not to_the_end and time.monotonic() - self._looked_at < OWN_FILES_S:
            return
        before, self._seen = self._seen, dict(self._found())
        for name, seen in self._seen.items():
            if self._there.get(name) != seen and (to_the_end or before.get(name) == seen):
                self._copy(name, seen)
        self._looked_at = time.monotonic()

    def _copy(self, name: str, seen: Seen) -> None:
        there, local = f"{self._place.trial}/{name}", self._place.paths.root / name
        parent, base = os.path.split(there)
        shared = is_shared(self._server.entry(self._place.trial))
        self._make_parents(os.path.dirname(name), shared)
        draft = f"{parent}/{draft_name(base, seen)}"
        if (before := self._drafts.get(name, draft)) != draft or isinstance(seen, str):
            self._server.remove(before)
        self._drafts[name] = draft
        try:
            if isinstance(seen, str):
                self._server.make_link(seen, draft)
            else:
                self._server.put(local, draft, mode=file_mode(local, shared))
        except FileNotFoundError:
            if local.is_symlink() or local.exists():
                raise
            return  # user code has removed it meanwhile
        self._server.rename(draft, there)
        del self._drafts[name]
        self._there[name] = seen

    def _make_parents(self, name: str, shared: bool) -> None:
        if name:
            self._make_parents(os.path.dirname(name), shared)
            self._server.make_directory(f"{self._place.trial}/{name}", shared=shared)

    def _found(self) -> Iterator[tuple[str, Seen]]:
        """Each file of user code, by its name in the trial's directory."""
        top = self._place.paths.text
        for parent, directories, names in os.walk(top):
            directories[:] = [name for name in directories if name != _CACHE]
            if parent == top:
                directories[:] = [name for name in directories if not ownership.is_name_of_ours(name)]
                names = [n for n in names if not ownership.is_name_of_ours(n) and n not in self._outputs]
            links = [name for name in directories if os.path.islink(f"{parent}/{name}")]
            for name in (*names, *links):
                path = f"{parent}/{name}"
                try:
                    found = os.lstat(path)
                    seen = os.readlink(path) if stat.S_ISLNK(found.st_mode) else (found.st_size, found.st_mtime_ns)
                except FileNotFoundError:
                    continue
                relative = os.path.relpath(path, top)
                if (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)) and self._can_be_sent(relative, seen):
                    yield relative, seen

    def _can_be_sent(self, name: str, seen: Seen) -> bool:
        """Whether a name, and what a link says, is UTF-8, as SFTP transfers it; else it is told, once."""
        try:
            f"{name}{seen}".encode()
        except UnicodeEncodeError:
            if name not in self._left_out:
                self._left_out.add(name)
                log.warning(f"hpctune: {name!r} is not brought back: its name, or what the link says, is not UTF-8.")
            return False
        return True
