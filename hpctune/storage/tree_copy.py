"""The one copy function for checkpoints: what is copied, what stays a link, and what is left out.

- What hpctune itself writes in an experiment is left out (:mod:`hpctune.storage.ownership`), and so is the target.
- A symbolic link that points inside the source stays a link. One that points outside is replaced by what it points to,
  because a checkpoint must be complete without anything around it. A link to nothing stays as it is.
- Files that are one file by hard links are one file in the copy.
- Named pipes, sockets and devices are left out.
- Where the filesystem can clone, files are cloned. Else a large file that is the same as in ``base``, an earlier copy
  that never changes, becomes a hard link to that. It never becomes a link to the source, which may be overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from hpctune.storage.ownership import Place, is_own, place_below, place_of

LINK_BYTES = 1 << 20
"""Smaller files are copied even if they have not changed: comparing them saves nothing."""
_FICLONE = 0x40049409
_CHUNK = 1 << 22
_NAMED = 5
"""Names in a note at most."""

OWN = "own"
"""The kind of the note on files of hpctune."""
_WORDS = {
    OWN: "contains files that hpctune writes; they are left out of the checkpoint: {}. Save into a directory that "
    "holds nothing else, such as tempfile.TemporaryDirectory().",
    "outside": "contains links that point outside; what they point to is copied: {}.",
    "special": "contains named pipes, sockets or devices; they are left out of the checkpoint: {}.",
    "around": "contains links to directories that it is in itself; they are left out of the checkpoint: {}.",
    "lost": "contains links to something that is left out of the checkpoint; they are left out as well: {}.",
}


@dataclass(slots=True)
class Copied:
    """What a copy holds. ``bytes``: the sizes of its files; ``notes``: by kind, what the user should know."""

    files: int = 0
    bytes: int = 0
    notes: dict[str, str] = field(default_factory=dict)


def copy_tree(source: Path, target: Path, *, base: Path | None = None, without: frozenset[str] = frozenset()) -> Copied:
    """Copy what is in ``source`` into the directory ``target``, which exists. Raises OSError.

    ``base``: an earlier copy that never changes; large unchanged files are shared with it. ``without``: names in
    ``source`` itself that are left out.
    """
    root, into = os.path.realpath(source), os.path.realpath(target)
    if root == into:
        return Copied()
    copy = _Copy(root, into)
    copy.protected = place_of(into)
    copy.tree(root, into, place_of(root), str(base) if base is not None else None, without)
    return copy.finish(str(source))


def normalize(directory: Path) -> Copied:
    """Apply the same rules to a ``directory`` that is not copied, but moved. Raises OSError."""
    root = os.path.realpath(directory)
    copy = _Copy(root, "")
    copy.normalize(root)
    return copy.finish(str(directory))


@dataclass(frozen=True, slots=True)
class _Link:
    """A link that stays one: where it was, where it is to be, its text, and the place in the copy it points to."""

    source: str
    path: str
    text: str
    aim: str


class _Copy:
    def __init__(self, root: str, target: str) -> None:
        self._target = target
        self._into = os.stat(target) if target else None
        self._top = root
        self._roots = [root]
        """The directories that are being copied: the source, and those outside it that links lead to."""
        self._links: list[_Link] = []
        self._known: dict[tuple[int, int], str] = {}
        """Where the files that have several names are in the copy."""
        self._left: dict[str, list[str]] = {}
        self._copied = Copied()
        self.protected = Place.ELSEWHERE
        """What the target is: hpctune's own files there are not replaced."""

    # -- the walk -----------------------------------------------------------------------------------------------

    def tree(
        self, source: str, target: str, place: Place, base: str | None, without: frozenset[str] = frozenset()
    ) -> None:
        """Copy the content of the real directory ``source`` into ``target``."""
        with os.scandir(source) as found:
            entries = {entry.name: entry for entry in found}
        for name, entry in entries.items():
            path, new = f"{source}/{name}", f"{target}/{name}"
            if name in without:
                continue
            protected = target == self._target and is_own(self.protected, target, name)
            if protected or is_own(place, source, name):
                self._leave(OWN, path)
            elif entry.is_symlink():
                kept = self._kept(path, new, target)
                if kept is not None:
                    self._links.append(kept)
                else:
                    self._content(path, new)
            elif entry.is_dir(follow_symlinks=False):
                self._directory(path, new, place, f"{base}/{name}" if base else None)
            elif entry.is_file(follow_symlinks=False):
                self._file(path, new, f"{base}/{name}" if base else None)
            else:
                self._leave("special", path)

    def _directory(self, source: str, target: str, parent: Place | None, base: str | None) -> None:
        seen = os.stat(source)
        if self._into is not None and os.path.samestat(seen, self._into):
            self._leave(OWN, source)
            return
        _make_way(target)
        with contextlib.suppress(FileExistsError):
            os.mkdir(target, stat.S_IRWXU)
        place = place_of(source) if parent is None else place_below(parent, os.listdir(source))
        self.tree(source, target, place, base)
        shutil.copystat(source, target)
        os.chmod(target, _mode(seen) | stat.S_IRWXU)

    def normalize(self, directory: str) -> None:
        """Mend the links in a real directory, and remove what cannot be kept."""
        with os.scandir(directory) as found:
            entries = list(found)
        for entry in entries:
            path = f"{directory}/{entry.name}"
            if entry.is_symlink():
                self._normalize_link(path, directory)
            elif entry.is_dir(follow_symlinks=False):
                self.normalize(path)
            elif entry.is_file(follow_symlinks=False):
                self._count(os.lstat(path))
            else:
                self._leave("special", path)
                os.unlink(path)

    def _normalize_link(self, path: str, directory: str) -> None:
        kept = self._kept(path, path, directory)
        if kept is not None:
            if kept.text != os.readlink(path):
                self._links.append(kept)
            return
        part = f"{path}.{os.urandom(6).hex()}.tmp"
        others, self._links = self._links, []
        try:
            self._content(path, part)
            self._make_links()
            os.unlink(path)
            if os.path.lexists(part):
                os.rename(part, path)
        except BaseException:
            _remove(part)
            raise
        self._links = others

    # -- links --------------------------------------------------------------------------------------------------

    def _kept(self, path: str, new: str, target: str) -> _Link | None:
        """The link ``path`` as it is to be at ``new`` in the directory ``target``; None if it points outside."""
        text, here, root = os.readlink(path), os.path.dirname(path), self._roots[-1]
        aim = _place(os.path.join(here, text))
        if _within(aim, root):
            climbs = os.path.normpath(os.path.join(os.path.relpath(here, root), text)).startswith(("..", "/"))
            relative = os.path.relpath(aim, here)
            return _Link(path, new, relative if climbs else text, os.path.normpath(os.path.join(target, relative)))
        return None if os.path.exists(path) else _Link(path, new, text, "")

    def _content(self, path: str, new: str) -> None:
        """Copy what the link ``path`` points to."""
        real = os.path.realpath(path)
        seen = os.stat(real)
        parent, name = os.path.split(real)
        if is_own(place_of(parent), parent, name):
            self._leave(OWN, path)
        elif stat.S_ISDIR(seen.st_mode):
            if any(_within(root, real) for root in self._roots):
                self._leave("around", path)
                return
            self._leave("outside", path)
            self._roots.append(real)
            self._directory(real, new, None, None)
            self._roots.pop()
        elif stat.S_ISREG(seen.st_mode):
            self._leave("outside", path)
            self._file(real, new, None)
        else:
            self._leave("special", path)

    def _make_links(self) -> None:
        """Make the links last: one that would point to something that was left out is left out."""
        waiting, before = self._links, -1
        while waiting and len(waiting) != before:
            before = len(waiting)
            later: list[_Link] = []
            for link in waiting:
                if link.aim and os.path.exists(link.source) and not os.path.lexists(link.aim):
                    later.append(link)
                else:
                    _make_way(link.path)
                    os.symlink(link.text, link.path)
            waiting = later
        for link in waiting:
            self._leave("lost", link.source)
        self._links = []

    # -- files --------------------------------------------------------------------------------------------------

    def _file(self, source: str, target: str, base: str | None) -> None:
        fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            seen = os.fstat(fd)
            if not stat.S_ISREG(seen.st_mode):
                self._leave("special", source)
                return
            _make_way(target)
            first = self._known.setdefault((seen.st_dev, seen.st_ino), target)
            if first != target and _linked(first, target):
                self._copied.files += 1
                return
            self._count(seen)
            made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                if not _cloned(fd, made):
                    if base is not None and _same(fd, seen, base) and _replaced_by_link(base, target):
                        return
                    _copy_data(fd, made, seen)
            finally:
                os.close(made)
        finally:
            os.close(fd)
        shutil.copystat(source, target)
        os.chmod(target, _mode(seen) | stat.S_IRUSR | stat.S_IWUSR)

    def _count(self, seen: os.stat_result) -> None:
        self._copied.files += 1
        self._copied.bytes += seen.st_size

    # -- notes --------------------------------------------------------------------------------------------------

    def _leave(self, kind: str, path: str) -> None:
        self._left.setdefault(kind, []).append(os.path.relpath(path, self._top))

    def finish(self, source: str) -> Copied:
        """Make the links; what was copied."""
        self._make_links()
        for kind, paths in self._left.items():
            first = sorted(paths, key=lambda path: (path.startswith("."), path))[:_NAMED]
            named = ", ".join(os.fsencode(path).decode(errors="replace") for path in first)
            more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
            self._copied.notes[kind] = f"{source} {_WORDS[kind].format(named + more)}"
        return self._copied


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _place(path: str) -> str:
    """The path without links in the names of directories, but with a link at its end."""
    parent, name = os.path.split(path)
    return os.path.realpath(path) if name in ("", ".", "..") else os.path.join(os.path.realpath(parent), name)


def _mode(seen: os.stat_result) -> int:
    return seen.st_mode & 0o777


def _make_way(path: str) -> None:
    """Remove a file or link at ``path``, so that nothing is written through it. A directory stays."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _linked(first: str, target: str) -> bool:
    try:
        os.link(first, target, follow_symlinks=False)
    except OSError:  # the filesystem has no hard links, or the file has too many
        return False
    return True


def _replaced_by_link(base: str, target: str) -> bool:
    part = f"{target}.{os.urandom(6).hex()}.tmp"
    if not _linked(base, part):
        return False
    os.replace(part, target)
    return True


def _cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _same(source: int, seen: os.stat_result, base: str) -> bool:
    """Whether the large file ``base`` has the content of ``source``. Times tell only that it is worth a comparison: a
    file that is mapped into memory may change without a new time."""
    if seen.st_size < LINK_BYTES:
        return False
    try:
        fd = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # it is new, or the earlier copy is being deleted
        return False
    try:
        other = os.fstat(fd)
        alike = (other.st_size, other.st_mtime_ns) == (seen.st_size, seen.st_mtime_ns)
        if not alike or not stat.S_ISREG(other.st_mode) or os.path.samestat(seen, other):
            return False
        position = 0
        while chunk := os.pread(source, _CHUNK, position):
            if chunk != os.pread(fd, len(chunk), position):
                return False
            position += len(chunk)
        return position == seen.st_size
    except OSError:
        return False
    finally:
        os.close(fd)


def _copy_data(source: int, target: int, seen: os.stat_result) -> None:
    """Copy the content, as long as it was when it was ``seen``; holes stay holes."""
    for start, end in _extents(source, seen):
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        while start < end and (data := os.read(source, min(_CHUNK, end - start))):
            start += len(data)
            while data:
                data = data[os.write(target, data) :]
    if seen.st_blocks * 512 < seen.st_size:
        os.ftruncate(target, seen.st_size)


def _extents(source: int, seen: os.stat_result) -> list[tuple[int, int]]:
    if seen.st_blocks * 512 >= seen.st_size:
        return [(0, seen.st_size)]
    found, end = [], 0
    try:
        while end < seen.st_size:
            start = os.lseek(source, end, os.SEEK_DATA)
            end = os.lseek(source, start, os.SEEK_HOLE)
            found.append((start, min(end, seen.st_size)))
    except OSError as error:
        if error.errno != errno.ENXIO:  # not the end of the data, but a filesystem that cannot tell
            return [(0, seen.st_size)]
    return found
