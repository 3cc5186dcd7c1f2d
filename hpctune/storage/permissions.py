"""The modes of files and directories: an experiment is private, or readable for the group of its directory.

Only the owner ever writes. The mode of a directory tells whether it is shared: then it is setgid and readable for the
group. A file that is created in a shared directory becomes readable for the group, whatever the umask is; in any other
directory it is private. Pickled code is always private.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import StrPath

PRIVATE_FILE, SHARED_FILE = 0o600, 0o640
PRIVATE_DIRECTORY, SHARED_DIRECTORY = 0o700, 0o2750
_MARK = stat.S_ISGID | stat.S_IRGRP | stat.S_IXGRP


def share(directory: StrPath) -> None:
    """Let the group read ``directory`` and everything that will be created in it. Raises OSError."""
    os.chmod(directory, SHARED_DIRECTORY)


def shared(directory: StrPath) -> bool:
    """Whether new files in ``directory`` are readable for the group."""
    try:
        return has_mark(os.stat(directory).st_mode)
    except OSError:
        return False


def has_mark(mode: int) -> bool:
    """Whether ``mode`` is that of a shared directory."""
    return mode & _MARK == _MARK


def exists(path: StrPath) -> bool:
    """Whether ``path`` exists, as a file or a directory. Raises OSError if that cannot be determined."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def parent(path: StrPath) -> str:
    """The directory of ``path``."""
    return os.path.dirname(path) or "."


def make_directory(path: StrPath, *, exist_ok: bool = False) -> None:
    """Create a directory that is readable for the same users as its parent. Raises OSError."""
    if exist_ok and os.path.isdir(path):
        return
    try:
        os.mkdir(path, PRIVATE_DIRECTORY)
    except FileNotFoundError:
        Path(path).mkdir(PRIVATE_DIRECTORY, parents=True, exist_ok=exist_ok)
    except FileExistsError:
        if not exist_ok or not os.path.isdir(path):
            raise
    if shared(parent(path)):
        share(path)


def mode_in(directory: StrPath) -> int:
    """The mode of a new file in ``directory``."""
    return SHARED_FILE if shared(directory) else PRIVATE_FILE


def fix_mode(fd: int, mode: int) -> None:
    """Set the mode of an open file to ``mode``, since the umask may have reduced it. Raises OSError."""
    if mode == SHARED_FILE:
        os.fchmod(fd, mode)


def open_to_append(path: StrPath, *, parents: bool = False) -> int:
    """Open ``path`` to append to it. Returns the descriptor. The file is created if it is missing.

    ``parents``: so is its directory. Raises OSError.
    """
    mode = mode_in(parent(path))
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode)
    except FileNotFoundError:
        if not parents:
            raise
        make_directory(parent(path), exist_ok=True)
        return open_to_append(path)
    try:
        if os.fstat(fd).st_size == 0:
            fix_mode(fd, mode)
    except BaseException:
        os.close(fd)
        raise
    return fd


def remove_if_empty(path: StrPath) -> None:
    """Remove a file if it is empty. Errors are ignored."""
    with contextlib.suppress(OSError):
        if os.stat(path).st_size == 0:
            os.unlink(path)


def share_tree(directory: Path) -> None:
    """Let the group read everything in ``directory``, which user code has filled. Raises OSError."""
    for parent, _, names in os.walk(directory):
        share(Path(parent))
        for path in (Path(parent, name) for name in names):
            if path.is_file() and not path.is_symlink():
                path.chmod((stat.S_IMODE(path.stat().st_mode) | stat.S_IRGRP) & ~(stat.S_IWGRP | stat.S_IWOTH))
