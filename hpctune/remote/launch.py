"""Starting a search there, once, and following it: ``hpctune run --on`` and ``hpctune resume --on``."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.common.log import log
from hpctune.common.text import count, quoted, size
from hpctune.errors import RemoteClusterError, UsageError
from hpctune.remote import declared, environment, requirements, tasks, transfer
from hpctune.remote.environment import Inputs
from hpctune.remote.requirements import Requirements
from hpctune.remote.session import Session
from hpctune.remote.tasks import Show, Task
from hpctune.usercode.project import Project, package_paths

Confirm = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that is to be started.

    ``words``: the command line there, after ``hpctune``; files in it are named from ``place``, a directory of the
    project. ``name``: what --name and --storage-path say, if --name was given. ``repeated``: it may be started again
    when it is over, because it goes on with an experiment, or only shows something. ``wheels``: a directory here with
    packages; "": the index there.
    """

    project: Project
    words: tuple[str, ...]
    place: str
    name: str | None = None
    repeated: bool = False
    wheels: str = ""

    @property
    def task(self) -> str:
        """The name of its task: the same command is the same task. With --name the name decides, else the files do."""
        if self.name is not None and not self.repeated:
            return f"run-{short_hash(self.name)}"
        return f"run-{short_hash((self.project.name, self.words, self.project.hash))}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """``python``: the interpreter there. ``facts``: what ``look`` said. ``directory``: that of the code, if any.
    ``packages``: directories here that are packages of the project."""

    python: str
    facts: Mapping[str, Any]
    directory: str = ""
    packages: tuple[Path, ...] = ()


def short_hash(key: object) -> str:
    """A part of a file's name that stands for ``key``."""
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16]


def prepare(session: Session, wanted: Wanted, confirm: Confirm, say: Show, show: Show) -> Prepared:
    """Bring the code, and make or find the environment. ``confirm`` is asked before files go there whose names are new.

    ``say`` gets messages, ``show`` the output of what runs there. Raises UsageError if it is not confirmed,
    RemoteClusterError.
    """
    project, cluster = wanted.project, session.cluster
    needed = requirements.of_project(project.base, project.root)
    inputs = None if cluster.python else environment.inputs(needed, wanted.wheels or cluster.wheels)
    contents = transfer.sources(project.root, project.files)
    facts = _look(session, inputs, hashes=list(contents), directories=[project.directory], project=project.name)
    known = set(facts["names"])
    new = [file for file in project.files if file.path not in known]
    if not facts["there"]:
        said = "" if cluster.python else environment.describe(needed)
        listed = f"{project.describe(new)}\n{said}".rstrip()
        if new and not confirm(listed):
            raise UsageError("Nothing was sent.")
        _bring(session, project, contents, set(facts["missing"]), say)
    python = _python(session, inputs, facts, say, show)
    return Prepared(python, facts, f"{facts['here']}/{project.directory}", needed.packages)


def prepare_without_code(session: Session, say: Show, show: Show, experiment: str | None = None) -> Prepared:
    """Find the environment that ``experiment`` was started with, else the one that was used last; if there is none,
    make one with nothing but hpctune, and let later commands use it."""
    facts = _look(session, None, experiment=experiment)
    if session.cluster.python:
        return Prepared(environment.check_named(session, facts), facts)
    python = (facts["launched"] or {}).get("python") or facts["used"]
    if python:
        return Prepared(python, facts)
    inputs = environment.inputs(Requirements(), session.cluster.wheels)
    prepared = Prepared(_python(session, inputs, _look(session, inputs), say, show), facts)
    note_environment(session, prepared)
    return prepared


def environment_for(session: Session, inputs: Inputs, say: Show, show: Show) -> str:
    """The interpreter of an environment of ``inputs``, which is made if it is not there. Raises RemoteClusterError."""
    return _python(session, inputs, _look(session, inputs), say, show)


def _look(session: Session, inputs: Inputs | None, **request: Any) -> dict[str, Any]:
    request["hashes"] = [*request.get("hashes", ()), *(inputs.sources if inputs is not None else ())]
    return session.call("look", named=bool(session.cluster.python), **request)


def _bring(session: Session, project: Project, contents: Mapping[str, Any], absent: set[str], say: Show) -> None:
    missing = [name for name in contents if name in absent]
    total = sum(contents[name].stat().st_size for name in missing)
    say(f"Sending {len(missing)} of {count(len(project.files), 'file')}, {size(total)}, to {session.cluster.name}.")
    transfer.send(session, contents, missing, say)
    transfer.assemble(session, project.directory, project.files, project.name)


def _python(session: Session, inputs: Inputs | None, facts: Mapping[str, Any], say: Show, show: Show) -> str:
    if inputs is None:
        return environment.check_named(session, facts)
    return environment.make(session, inputs, facts, say, show)


def examine(session: Session, prepared: Prepared, options: Sequence[str], say: Show, show: Show) -> None:
    """Run ``hpctune doctor`` there, unless it was content before. Raises RemoteClusterError if it finds an obstacle."""
    command = [prepared.python, "-m", "hpctune", "doctor", *options]
    task = tasks.begin(session, f"doctor-{short_hash(command)}", shlex.join(command))
    if task.done:
        return
    say(f"The first run on {session.cluster.name}: hpctune doctor looks at it.")
    if not tasks.follow(session, task, show).done:
        raise RemoteClusterError(
            f"hpctune doctor found an obstacle on {session.cluster.name}, see the lines marked fail. If it does not "
            "matter: --no-doctor"
        )


def uses_driver_job(session: Session, given: bool, cluster: str | None, facts: Mapping[str, Any]) -> bool:
    """Whether the driver is to be a job: as the command line says, else the cluster's entry, else if there is Slurm."""
    if given or session.cluster.driver == "sbatch":
        return True
    return session.cluster.driver == "auto" and bool(facts["slurm"]) and cluster in (None, "auto", "slurm")


def start(session: Session, wanted: Wanted, prepared: Prepared, words: Sequence[str]) -> Task:
    """Start ``hpctune WORDS`` in the project's copy there, unless that has been done."""
    script = _script(
        prepared, words, f"{prepared.directory}/{wanted.place}".rstrip("/."), _paths(prepared, wanted.project)
    )
    task = tasks.begin(session, wanted.task, script, "ended" if wanted.repeated else "failed")
    if task.differs:
        log.warning(
            f"It was started before on {session.cluster.name}, with other files or options than now; what was started "
            "goes on, and this command shows it. To start another search: another --name."
        )
    return task


def start_resume(session: Session, prepared: Prepared, words: Sequence[str]) -> Task:
    """Start ``hpctune resume`` there, unless the same command is running."""
    script = _script(prepared, words, str(prepared.facts["here"]), "")
    return tasks.begin(session, f"resume-{short_hash(list(words))}", script, "ended")


def _script(prepared: Prepared, words: Sequence[str], place: str, paths: str) -> str:
    """Shell text that notes the interpreter for later commands, and runs hpctune in ``place``."""
    here = quoted(prepared.facts["here"])
    lines = [
        f"printf %s {quoted(prepared.python)} >{here}/.python.$$ && mv {here}/.python.$$ {here}/python",
        f"cd {quoted(place)} || exit 1",
        *([f'export PYTHONPATH={paths}"${{PYTHONPATH:+:$PYTHONPATH}}"'] if paths else []),
        f"exec {shlex.join([prepared.python, '-m', 'hpctune', *words])}",
    ]
    return "\n".join(lines)


def _paths(prepared: Prepared, project: Project) -> str:
    """Where the packages of a project are that is installed here, as a word of the shell; "" if it is none."""
    around = [place for place in (project.base, *project.base.parents) if place.is_relative_to(project.root)]
    own = [place for place in around if any((place / name).is_file() for name in declared.FILES)]
    names = [str(path.relative_to(project.root.resolve())) for place in [*own, *prepared.packages]
             for path in package_paths(place.resolve())]  # fmt: skip
    folders = {str(parent) for file in project.files for parent in Path(file.path).parents}
    known = [name for name in dict.fromkeys(names) if name in folders]
    return quoted(":".join(f"{prepared.directory}/{name}".removesuffix("/.") for name in known)) if known else ""


def note_environment(session: Session, prepared: Prepared) -> None:
    """Let later commands use the interpreter."""
    session.call("use", python=prepared.python)


def follow(
    session: Session, task: Task, prepared: Prepared, *, driver_job: bool, is_new: bool, show: Show
) -> tuple[int, str]:
    """Show what a search prints, until it is over. Returns its exit code, and the experiment to look at afterwards (""
    if its own output has said all). ``is_new``: show all output of the driver jobs, not only the end of the last one's.
    Raises RemoteClusterError if its process was lost."""
    tasks.follow(session, task, show)
    if task.state == "lost":
        raise RemoteClusterError(
            f"The process on {session.cluster.name} ended without a word: it was killed, the machine was restarted, or "
            f"the disk is full. Its output: {prepared.facts['here']}/{task.path}/output. If there is an experiment: "
            f"hpctune resume NAME --on {quoted(session.cluster.name)}"
        )
    code = task.code or 0
    if code or not driver_job or not task.experiments:
        return code, ""
    codes = [
        _code(tasks.follow_driver(session, prepared.python, experiment, show, from_start=is_new))
        for experiment in task.experiments
    ]
    return max(codes), task.experiments[-1]


def _code(status: Mapping[str, Any]) -> int:
    """The exit code that a driver's process would have, by the status of its experiment."""
    if status.get("state") != "finished":
        return 3
    return 1 if status.get("failed") else 0
