"""Which of the user's files go with a search to jobs that do not see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpctune.cluster.choice import ClusterChoice
from hpctune.errors import UsageError
from hpctune.storage import bundle, kept_project
from hpctune.storage.kept_project import KeptProject
from hpctune.storage.layout import ExperimentPaths
from hpctune.usercode import project
from hpctune.usercode.project import Project
from hpctune.worker import Command


def project_for(
    trainable: Any, cluster: ClusterChoice, stored: ExperimentPaths | None = None
) -> tuple[Project | KeptProject | None, tuple[str, ...]]:
    """The project of a program, or what the options name of the working directory's; and warnings.

    None if jobs see the user's files, or nothing goes with the search. A program that runs in the project gets it also
    if it has no files: it needs the directory. If an experiment is resumed whose project is not here any more, or
    cannot be brought, it is the ``stored`` one. Else raises UsageError for files that are too large or not there.
    """
    more, limit = cluster.code
    if not cluster.jobs_have_copies or limit == 0 or not (more or isinstance(trainable, Command)):
        return None, ()
    named = [Path(name) for name in more]
    text, directory = "", Path.cwd()
    if isinstance(trainable, Command):
        text = trainable.command if isinstance(trainable.command, str) else " ".join(map(str, trainable.command))
        directory = Path(trainable.working_directory or trainable.start_dir)
    if stored is not None and not all(path.exists() for path in (directory, *named)):
        return bundle.project(stored), ()
    try:
        found, secrets = project.collect_named(text, directory, named, limit).without_secrets(named)
    except UsageError as error:
        kept = None if stored is None else bundle.project(stored)
        if kept is None:
            raise
        return kept, (f"The program stays as it was when its files were brought last. {error}",)
    names = ", ".join(secrets)
    told = f"What may be a secret does not go to the jobs: {names}. If it is needed there, name it: --code FILE"
    needed = bool(found.files) or (isinstance(trainable, Command) and trainable.working_directory is not None)
    return found if needed else None, (told,) if secrets else ()


def has_changed(trainable: Any, project: Project | KeptProject | None, stored: ExperimentPaths) -> bool:
    """Whether the project of a program is another one than the ``stored`` one: somebody has mended the program."""
    if not isinstance(trainable, Command) or not isinstance(project, Project):
        return False
    kept = bundle.project(stored)
    return kept is None or kept.archive != kept_project.name_of(project)
