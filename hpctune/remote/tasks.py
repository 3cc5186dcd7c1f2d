"""Tasks: shell scripts that go on there without a connection; here they are begun once, and followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hpctune.remote.session import Session

TAIL = 4000
"""Bytes of the earlier output that are shown of a task that had begun before."""
Show = Callable[[str], object]


@dataclass(slots=True)
class Task:
    """One start of a task. ``state``: running, ended, or lost (it ended without a word). ``began``: by this call.
    ``differs``: it had begun before, with another script. ``experiments``: the directories that it drives."""

    path: str
    state: str
    code: int | None
    began: bool
    differs: bool = False
    experiments: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether it ended with the code 0."""
        return self.state == "ended" and self.code == 0


def begin(session: Session, name: str, script: str, again: str = "failed") -> Task:
    """Begin the task ``name``, unless it has begun: see :func:`hpctune.remote.cluster_side.start`."""
    got = session.call("start", name=name, script=script, again=again)
    differs = not got["began"] and got["script"] != script
    return Task(got["task"], got["state"], got["code"], got["began"], differs, got["experiments"])


def follow(session: Session, task: Task, show: Show) -> Task:
    """Show the output of a task until it is over. Returns it as it is then."""
    at = [0 if task.began else -TAIL]

    def take(frame: dict[str, Any]) -> None:
        if "text" in frame:
            show(frame["text"])
            at[0] = frame["at"]
        elif "over" in frame:
            task.state, task.code = frame["over"]["state"], frame["over"]["code"]
            task.experiments = frame["over"]["experiments"]

    session.stream("follow", lambda: {"task": task.path, "at": at[0]}, take)
    return task


def follow_driver(session: Session, python: str, experiment: str, show: Show, *, from_start: bool) -> dict[str, Any]:
    """Show the output of an experiment's driver jobs until the experiment is over. Returns its status."""
    at = {"job": 0, "at": 0 if from_start else -TAIL}
    over: dict[str, Any] = {}

    def take(frame: dict[str, Any]) -> None:
        if "text" in frame:
            show(frame["text"])
            at.update(job=frame["job"], at=frame["at"])
        elif "over" in frame:
            over.update(frame["over"])

    status = [python, "-m", "hpctune", "status", experiment, "--json"]
    session.stream("follow_driver", lambda: {"experiment": experiment, "status": status, **at}, take)
    return over
