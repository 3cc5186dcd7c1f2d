"""The files of one experiment for its jobs on other machines: an SFTP server (paramiko's) that the driver runs itself.

A job may change what is in the experiment's directory, and write the files that get its output. Nothing else is seen:
links that lead out of the directory are not followed. A file that was written is on the disk when it is closed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from paramiko import SFTPAttributes, SFTPHandle, SFTPServer, SFTPServerInterface
from paramiko.sftp import SFTP_EOF, SFTP_OK

from hpctune.ssh.streams import Stream
from hpctune.storage import atomic

_NAME = "hpctune-files"


def serve(stream: Stream, root: Path, also: Callable[[], Collection[str]]) -> None:
    """Serve ``root`` over ``stream``, in a thread of its own, until the stream ends. ``also``: files outside of it."""
    channel: Any = stream  # it has what paramiko uses
    handler = SFTPServer(channel, _NAME, channel, ServedDirectory, os.path.realpath(root), str(root), also)

    def run() -> None:
        with contextlib.suppress(Exception):  # the job makes a new connection
            handler.start_subsystem(_NAME, channel, channel)
        with contextlib.suppress(Exception):
            handler.finish_subsystem()
        stream.close()

    threading.Thread(target=run, name=_NAME, daemon=True).start()


def _tried(step: Callable[[], object]) -> int:
    """The code of SFTP for how a step went."""
    try:
        step()
    except OSError as error:
        return SFTPServer.convert_errno(error.errno or 0)
    return SFTP_OK


class ServedDirectory(SFTPServerInterface):
    """``real``: the directory's path without links; ``root``: its path as jobs say it."""

    def __init__(self, server: object, real: str, root: str, also: Callable[[], Collection[str]]) -> None:
        self._real, self._root, self._also = real, root, also

    def _inside(self, path: str) -> str:
        """The path with no link but perhaps its last part. Raises PermissionError if it is not for jobs."""
        if f"{path}/".startswith(f"{self._root}/"):
            path = self._real + path[len(self._root) :]
        path = os.path.normpath(path)
        if path == self._real:
            return self._real
        parent, name = os.path.split(path)
        parent = os.path.realpath(parent)
        if parent == self._real or parent.startswith(f"{self._real}/") or self._is_beside(path):
            return f"{parent}/{name}"
        raise PermissionError(13, "not a file of this experiment", path)

    def _is_beside(self, path: str) -> bool:
        """Whether it gets a job's output, or is the directory of such a file."""
        return any(path in (one, os.path.dirname(one)) for one in map(os.path.normpath, self._also()))

    def list_folder(self, path: str) -> list[SFTPAttributes] | int:
        """What is in a directory."""
        made: list[SFTPAttributes] = []
        try:
            with os.scandir(self._inside(path)) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        made.append(SFTPAttributes.from_stat(entry.stat(follow_symlinks=False), entry.name))
        except OSError as error:
            return SFTPServer.convert_errno(error.errno or 0)
        return made

    def stat(self, path: str) -> SFTPAttributes | int:
        """What a path leads to, if that is inside."""
        return self._described(path, os.stat)

    def lstat(self, path: str) -> SFTPAttributes | int:
        """What a path is."""
        return self._described(path, os.lstat)

    def _described(self, path: str, look: Callable[[str], os.stat_result]) -> SFTPAttributes | int:
        try:
            inside = self._inside(path)
            if look is os.stat and os.path.islink(inside):
                inside = self._inside(os.path.realpath(inside))
            return SFTPAttributes.from_stat(look(inside))
        except OSError as error:
            return SFTPServer.convert_errno(error.errno or 0)

    def open(self, path: str, flags: int, attr: SFTPAttributes) -> SFTPHandle | int:
        """A file; one that is a link is refused."""
        try:
            mode = stat.S_IMODE(attr.st_mode) if attr.st_mode is not None else 0o600
            return _File(os.open(self._inside(path), flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode), flags)
        except OSError as error:
            return SFTPServer.convert_errno(error.errno or 0)

    def remove(self, path: str) -> int:
        """Remove a file."""
        return _tried(lambda: os.unlink(self._inside(path)))

    def rename(self, oldpath: str, newpath: str) -> int:
        """Give a file another name that nothing has: of several callers exactly one succeeds."""
        return _tried(lambda: atomic.move_exclusively(self._inside(oldpath), self._inside(newpath)))

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        """Give a file or directory another name."""
        return _tried(lambda: os.rename(self._inside(oldpath), self._inside(newpath)))

    def mkdir(self, path: str, attr: SFTPAttributes) -> int:
        """Make a directory."""
        mode = stat.S_IMODE(attr.st_mode) if attr.st_mode is not None else 0o700
        return _tried(lambda: os.mkdir(self._inside(path), mode))

    def rmdir(self, path: str) -> int:
        """Remove an empty directory."""
        return _tried(lambda: os.rmdir(self._inside(path)))

    def chattr(self, path: str, attr: SFTPAttributes) -> int:
        """Change a mode; all else stays."""
        inside = self._inside
        if attr.st_mode is None:
            return SFTP_OK
        mode = stat.S_IMODE(attr.st_mode)
        return _tried(lambda: os.chmod(inside(path), mode, follow_symlinks=not os.path.islink(inside(path))))

    def readlink(self, path: str) -> str | int:
        """The text of a link."""
        try:
            return os.readlink(self._inside(path))
        except OSError as error:
            return SFTPServer.convert_errno(error.errno or 0)

    def symlink(self, target_path: str, path: str) -> int:
        """Make a link; it may name anything, and is not followed to what is outside."""
        return _tried(lambda: os.symlink(target_path, self._inside(path)))


class _File(SFTPHandle):
    """An open file."""

    def __init__(self, fd: int, flags: int) -> None:
        super().__init__(flags)
        self._fd, self._written = fd, False

    def read(self, offset: int, length: int) -> bytes | int:
        try:
            return os.pread(self._fd, length, offset) or SFTP_EOF
        except OSError as error:
            return SFTPServer.convert_errno(error.errno or 0)

    def write(self, offset: int, data: Any) -> int:
        def step() -> None:
            left, at = memoryview(data), offset
            while left:
                done = os.pwrite(self._fd, left, at)
                left, at = left[done:], at + done

        self._written = True
        return _tried(step)

    def stat(self) -> SFTPAttributes | int:
        return SFTPAttributes.from_stat(os.fstat(self._fd))

    def chattr(self, attr: SFTPAttributes) -> int:
        def step() -> None:
            if attr.st_mode is not None:
                os.fchmod(self._fd, stat.S_IMODE(attr.st_mode))
            if attr.st_size is not None:
                os.ftruncate(self._fd, attr.st_size)
                self._written = True

        return _tried(step)

    def close(self) -> None:
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            if self._written:
                os.fsync(fd)
        finally:
            os.close(fd)
