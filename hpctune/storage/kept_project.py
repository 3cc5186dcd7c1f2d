"""The project of the user's program, kept in the experiment for jobs that do not see the user's files.

Such a job gets the archive in ``code/`` and unpacks it in its trial's directory. So what the program changes there is
brought back with the trial's other files, and a later attempt finds it again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpctune.storage import atomic, permissions
from hpctune.storage.layout import ExperimentPaths, TrialPaths
from hpctune.usercode.project import Project, archive

DIRECTORY = "project"
"""The name of the copy in a trial's directory."""
_MARKS = 4
"""How many files tell whether a directory is the project itself."""


@dataclass(frozen=True, slots=True)
class KeptProject:
    """``root``: the project's directory where the search was started; ``inode``: of it. ``archive``: the name of the
    archive. ``marks``: names of some files with their inodes. ``start``: the directory in it where programs begin.
    ``also``: the path that the user went by to ``root``, if there are links in it."""

    root: str
    archive: str
    inode: int
    marks: dict[str, int]
    start: str = "."
    also: str = ""

    def to_json(self) -> dict[str, Any]:
        """The values."""
        return asdict(self)

    @property
    def is_here(self) -> bool:
        """Whether this machine sees the project itself, on a filesystem that it shares with the driver's host. Some of
        its files may have been replaced meanwhile. Of one without files, any directory of that name will do."""
        marks = self.marks.items()
        if not marks:
            return os.path.isdir(self.root)
        return _inode(self.root) == self.inode and any(_inode(f"{self.root}/{name}") == inode for name, inode in marks)

    def moved(self, text: str, trial: TrialPaths) -> str:
        """``text`` with the paths of the project's files in the copy of ``trial``."""
        copy = str(trial.root / DIRECTORY)
        roots = "|".join(re.escape(root) for root in (self.root, self.also) if root)
        return re.sub(rf"(?<![\w./-])(?:{roots})(?![\w.-])", lambda found: copy, text)

    def unpack(self, experiment: ExperimentPaths, trial: TrialPaths) -> None:
        """Make the copy. Files that are there, of an earlier attempt, stay as they are. May be called again."""
        target = trial.root / DIRECTORY
        fresh = trial.root / f".{DIRECTORY}.{os.getpid()}.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        with tarfile.open(experiment.code / self.archive) as files:
            files.extractall(fresh, filter="tar")  # links may lead to data that machines have
        (fresh / self.start).mkdir(parents=True, exist_ok=True)  # it may have no files
        for parent, directories, names in os.walk(fresh):
            place = target / os.path.relpath(parent, fresh)
            place.mkdir(exist_ok=True)
            links = [name for name in directories if os.path.islink(f"{parent}/{name}")]
            for name in (*names, *links):
                if not os.path.lexists(place / name):
                    os.rename(f"{parent}/{name}", place / name)
        shutil.rmtree(fresh)


def name_of(project: Project) -> str:
    """The name of the archive of ``project``, by what is in it."""
    return f"project-{project.hash[:16]}.tar.gz"


def keep(project: Project, experiment: ExperimentPaths) -> KeptProject:
    """Store ``project`` in ``code/``, unless that was done."""
    name = name_of(project)
    experiment.code.mkdir(mode=permissions.PRIVATE_DIRECTORY, exist_ok=True)
    if not permissions.exists(experiment.code / name):
        atomic.write(experiment.code / name, archive(project), mode=permissions.PRIVATE_FILE)
    marked = [file.path for file in project.files if not file.target][:_MARKS]
    marks = {path: inode for path in marked if (inode := _inode(f"{project.root}/{path}")) is not None}
    start = str(project.base.relative_to(project.root))
    return KeptProject(str(project.root), name, _inode(str(project.root)) or 0, marks, start, _way_to(project))


def _way_to(project: Project) -> str:
    """The shell's path of the project's directory, if that has links; else ""."""
    typed = Path(os.environ.get("PWD", ""))
    with contextlib.suppress(OSError, ValueError):
        inside = typed.resolve().relative_to(project.root.resolve()).parts
        way = Path(*typed.parts[: len(typed.parts) - len(inside)])
        if way != project.root and way.is_absolute() and way.samefile(project.root):
            return str(way)
    return ""


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None
