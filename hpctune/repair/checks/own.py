"""Checks of the owners and permissions of files. Pure, except :func:`walk`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpctune.repair.findings import Finding, SetMode
from hpctune.storage.layout import CHECKPOINT_PREFIX
from hpctune.storage.ownership import DOOMED_PREFIX, STAGING_PREFIX

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_CONTENTS = (CHECKPOINT_PREFIX, STAGING_PREFIX, DOOMED_PREFIX)
_TRUSTED = re.compile(r"\.pkl$|(^|/)control\.json$|^(journal|objects|code)(/|$)|^\.$")
"""Files that are loaded only if no other user can have written them."""
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """``where``: relative to the experiment, "." for itself."""

    path: Path
    where: str
    uid: int
    mode: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


def walk(root: Path) -> Iterator[Entry]:
    """The experiment's directory and all its files, without the content of checkpoints, which belongs to the trial."""
    yield _entry(root, root)
    for parent, directories, files in os.walk(root):
        directories.sort()
        for name in sorted([*directories, *files]):
            try:
                entry = _entry(Path(parent, name), root)
            except FileNotFoundError:
                continue
            if not stat.S_ISLNK(entry.mode):
                yield entry
        directories[:] = [d for d in directories if not d.startswith(_CONTENTS)]


def _entry(path: Path, root: Path) -> Entry:
    status = path.lstat()
    return Entry(path, str(path.relative_to(root)), status.st_uid, status.st_mode)


def check_ownership(entries: Iterable[Entry], uid: int, *, shared: bool = False) -> list[Finding]:
    """Files of others, files that others can change, files that their owner cannot read; ``uid``: who asks.

    ``shared``: the group is meant to read the experiment.

    In a directory that no other user can enter, it matters only for files that are not loaded if other users may have
    written them: a site's umask may let the group write everything.
    """
    foreign: list[Entry] = []
    findings: list[Finding] = []
    entered = False
    for entry in entries:
        if entry.uid != uid:
            foreign.append(entry)
            continue
        if entry.where == ".":
            entered = bool(entry.mode & (stat.S_IXGRP | stat.S_IXOTH))
        needed = stat.S_IRWXU if entry.is_directory else stat.S_IRUSR | stat.S_IWUSR
        if entry.mode & _OTHERS_MAY_WRITE and (entered or _TRUSTED.search(entry.where)):
            what = f"others can change it (mode {stat.filemode(entry.mode)})"
            findings.append(_tighter(entry, what, (entry.mode | needed) & ~_OTHERS_MAY_WRITE))
        elif entry.mode & needed != needed:
            what = f"you cannot read and write it yourself (mode {stat.filemode(entry.mode)})"
            findings.append(_tighter(entry, what, entry.mode | needed))
        elif entry.where == "." and entry.mode & (stat.S_IRWXO if shared else stat.S_IRWXG | stat.S_IRWXO):
            what = f"others can read it (mode {stat.filemode(entry.mode)})"
            remedy = f"If that is not meant: chmod 700 {entry.path}"
            findings.append(Finding("permissions", ".", what, remedy, note=True))
    return [*findings, *_of_others(foreign)]


def _tighter(entry: Entry, what: str, mode: int) -> Finding:
    mode = stat.S_IMODE(mode)
    return Finding("permissions", entry.where, what, f"mode set to {mode:o}", SetMode(entry.path, mode))


def _of_others(foreign: list[Entry]) -> Iterator[Finding]:
    """One finding for each owner; what root owns can be trusted, but not always be changed."""
    for owner in sorted({entry.uid for entry in foreign}):
        theirs = [entry.where for entry in foreign if entry.uid == owner]
        some = ", ".join(theirs[:SHOWN]) + (f" and {len(theirs) - SHOWN} more" if len(theirs) > SHOWN else "")
        remedy = "Its owner (or an administrator) can give it to you with chown; until then its content is not trusted"
        yield Finding("owner", theirs[0], f"belongs to user {owner}, not to you: {some}", remedy)
