"""``hpctune run --on`` and ``hpctune resume --on``: start there, follow from here."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hpctune.cli import exitcodes, words
from hpctune.cli.progress import say, show
from hpctune.cli.sshoptions import SSH_FIELDS
from hpctune.common.text import quoted
from hpctune.errors import ConnectionLostError, UsageError
from hpctune.remote import launch, passthrough
from hpctune.remote.launch import Prepared, Wanted
from hpctune.remote.session import Session
from hpctune.remote.tasks import Task
from hpctune.usercode import project as code


def run(session: Session, command: click.Command, typed: Sequence[str], given: Mapping[str, Any]) -> int:
    """Start what CONFIG defines there, unless that was done, and follow it. Returns the exit code."""
    config = given["config"]
    if config is None:
        raise UsageError("No config file was named. Usage: hpctune run CONFIG.py --on CLUSTER")
    _check_places(given)
    path = Path(config).expanduser().absolute()
    table = [Path(given["table"])] if given["table"] else []
    project = code.collect(path, [*map(Path, given["code"]), *table], given["code_limit"])
    place = _place(project.root, path)
    inside = os.path.relpath(path, project.root / place)
    line = [
        "run",
        *session.cluster.options,
        *_renamed(command, words.without(command, typed, SSH_FIELDS), config, inside),
    ]
    name = None if given["name"] is None else f"{given['storage_path'] or ''}/{given['name']}"
    repeated = given["resume"] is not None or given["dry_run"]
    wanted = Wanted(project, tuple(line), place, name, repeated, given["wheels"] or "")
    again = _command_line(session, "run", words.without(command, typed, {"detach"}))
    with _Telling(session, again, report=True):
        prepared = launch.prepare(session, wanted, lambda text: _confirmed(text, given["yes"]), say, show)
        if given["dry_run"]:
            launch.note_environment(session, prepared)
            return _dry_run(session, prepared, wanted, line)
        if not given["no_doctor"]:
            launch.examine(session, prepared, _doctor(given, prepared), say, show)
        driver_job = launch.uses_driver_job(session, given["sbatch"], given["cluster"], prepared.facts)
        task = launch.start(session, wanted, prepared, _with_driver_job(line, driver_job and not given["sbatch"]))
        _tell_started(session, task)
        if given["detach"]:
            say(f"To follow it: {again}")
            return exitcodes.DONE
        return _follow(session, task, prepared, driver_job, task.began)


def resume(session: Session, typed: Sequence[str], given: Mapping[str, Any]) -> int:
    """Continue an experiment there, and follow it. Returns the exit code."""
    again = _command_line(session, "resume", typed)
    with _Telling(session, again, report=True):
        prepared = launch.prepare_without_code(session, say, show, given["directory"])
        launched = prepared.facts["launched"]
        job = (
            launched["sbatch"] if launched else launch.uses_driver_job(session, False, given["cluster"], prepared.facts)
        )
        line = _with_driver_job(["resume", *typed], job and not given["sbatch"])
        task = launch.start_resume(session, prepared, line)
        _tell_started(session, task)
        return _follow(session, task, prepared, job or given["sbatch"], False)


def make_environment(session: Session) -> None:
    """See that hpctune is there."""
    with _Telling(session, "", report=False):
        launch.prepare_without_code(session, say, show)


def _command_line(session: Session, name: str, typed: Sequence[str]) -> str:
    """The command as the user gave it; --on comes first, because what follows ``--`` is the script's."""
    return shlex.join(["hpctune", name, "--on", session.cluster.name, *typed])


def _check_places(given: Mapping[str, Any]) -> None:
    path = given["storage_path"]
    if path is not None and not path.startswith(("/", "~")) and "://" not in path:
        raise UsageError(
            f"--storage-path {path}: with --on it must be absolute, or begin with ~, which is the home there."
        )


def _place(root: Path, config: Path) -> str:
    """The working directory there, in the project: as here, if that is in the project."""
    here = Path.cwd()
    base = (
        here
        if here.is_relative_to(root)
        else (here.resolve() if here.resolve().is_relative_to(root) else config.parent)
    )
    return str(base.relative_to(root))


def _renamed(command: click.Command, typed: Sequence[str], config: str, inside: str) -> list[str]:
    """The words with the config's path as it is there."""
    made, left = list[str](), True
    for part in words.parts(command, typed):
        mine = left and config in (part.words[0], part.value) and (part.option in (None, "resume"))
        made += [inside if mine and word == config else word for word in part.words]
        left = left and not mine
    return made


def _with_driver_job(line: list[str], wanted: bool) -> list[str]:
    return [line[0], "--sbatch", *line[1:]] if wanted else line


def _doctor(given: Mapping[str, Any], prepared: Prepared) -> list[str]:
    options = [("--dir", given["storage_path"]), ("-p", given["partition"]), ("-A", given["account"])]
    made = [word for flag, value in options if value is not None for word in (flag, value)]
    return made + (["--cluster", "local"] if given["cluster"] in ("local", "debug") else [])


def _dry_run(session: Session, prepared: Prepared, wanted: Wanted, line: list[str]) -> int:
    task = launch.start(session, wanted, prepared, line)
    return launch.follow(session, task, prepared, driver_job=False, is_new=True, show=show)[0]


def _follow(session: Session, task: Task, prepared: Prepared, driver_job: bool, is_new: bool) -> int:
    ended, experiment = launch.follow(session, task, prepared, driver_job=driver_job, is_new=is_new, show=show)
    if experiment:
        passthrough.run(session, ["status", experiment])
    return ended


def _tell_started(session: Session, task: Task) -> None:
    if task.began:
        say(f"Started on {session.cluster.name}. Ctrl-C leaves it running there.")
    elif task.state == "running":
        say(f"It is running on {session.cluster.name} already. Ctrl-C leaves it running there.")
    else:
        say(f"It was started on {session.cluster.name} before.")


def _confirmed(text: str, yes: bool) -> bool:
    click.echo(text, err=True)
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("These files are new there, and there is no terminal to ask. To send them: --yes")
    return click.confirm("Send them?", default=True, err=True)


class _Telling:
    """Says at the end what was exchanged, and what to do if the command ended before the search."""

    def __init__(self, session: Session, again: str, *, report: bool) -> None:
        self._session, self._again, self._report = session, again, report

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        name = quoted(self._session.cluster.name)
        if isinstance(error, (KeyboardInterrupt, ConnectionLostError)) and self._again:
            if isinstance(error, ConnectionLostError):
                say(str(error))
            say(
                f"Nothing changes on the cluster by that. To see it again: {self._again}\n"
                f"State: hpctune status --on {name}. Stop: hpctune stop NAME --on {name}"
            )
        if self._report:
            say(self._session.traffic.describe())
        if isinstance(error, (KeyboardInterrupt, ConnectionLostError)) and self._again:
            raise click.exceptions.Exit(exitcodes.LEFT)
