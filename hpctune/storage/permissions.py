"""Who may read an experiment: its owner alone, or the group of its directory too. Others than the owner never write.

The directories say so themselves: in a shared experiment they are setgid, and the group may read them. What is made in
such a directory is made readable for the group, whatever the umask; what is made in any other is private. Pickled code
stays private in either case.
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
    """Let the group read ``directory`` and what will be made in it. Raises OSError."""
    os.chmod(directory, SHARED_DIRECTORY)


def shared(directory: StrPath) -> bool:
    """Whether the group may read what is made in ``directory``."""
    try:
        return os.stat(directory).st_mode & _MARK == _MARK
    except OSError:
        return False


def exists(path: StrPath) -> bool:
    """Whether there is a file or a directory. Raises OSError where that cannot be told."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def parent(path: StrPath) -> str:
    """The directory that ``path`` is in."""
    return os.path.dirname(path) or "."


def make_directory(path: StrPath, *, exist_ok: bool = False) -> None:
    """Make a directory that the same people may read as the one it is in. Raises OSError."""
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
    """The mode of a file that is made in ``directory``."""
    return SHARED_FILE if shared(directory) else PRIVATE_FILE


def fix_mode(fd: int, mode: int) -> None:
    """Give the open file a mode of this module, where the umask has kept it from having that. Raises OSError."""
    if mode == SHARED_FILE:
        os.fchmod(fd, mode)


def open_to_append(path: StrPath, *, parents: bool = False) -> int:
    """A descriptor by which to append to ``path``, which is made where it is not there; ``parents``: as is its
    directory. Raises OSError."""
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
    """Remove a file that holds nothing. What cannot be removed stays."""
    with contextlib.suppress(OSError):
        if os.stat(path).st_size == 0:
            os.unlink(path)


def share_tree(directory: Path) -> None:
    """Let the group read all that is in ``directory``, which was filled by user code. Raises OSError."""
    for parent, _, names in os.walk(directory):
        share(Path(parent))
        for path in (Path(parent, name) for name in names):
            if path.is_file() and not path.is_symlink():
                path.chmod((stat.S_IMODE(path.stat().st_mode) | stat.S_IRGRP) & ~(stat.S_IWGRP | stat.S_IWOTH))
