"""Files and directories on the driver's host, as SFTP describes them; the names and modes of copies."""

from __future__ import annotations

import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpctune.storage import permissions

if TYPE_CHECKING:
    from paramiko import SFTPAttributes


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory there. ``changed``: the time of the last change, in whole seconds."""

    size: int
    mode: int
    changed: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


def draft_name(name: str, identity: object) -> str:
    """The name of a file while it is copied. ``identity``: what tells the file from an earlier one of its name."""
    return f".{name}.{zlib.crc32(repr(identity).encode())}.tmp"


def is_shared(entry: Entry) -> bool:
    """Whether new files in this directory are readable for the group."""
    return permissions.has_mark(entry.mode)


def mode_in(directory: Entry) -> int:
    """The mode of a new file of hpctune in this directory."""
    return permissions.SHARED_FILE if is_shared(directory) else permissions.PRIVATE_FILE


def file_mode(path: Path, shared: bool) -> int:
    """The mode that the copy of a file is to have."""
    own = stat.S_IMODE(path.stat().st_mode) & 0o755
    return own | stat.S_IRGRP if shared else own


def described(found: SFTPAttributes) -> Entry:
    """What the server says of a file or directory."""
    return Entry(int(found.st_size or 0), int(found.st_mode or 0), int(found.st_mtime or 0))
