"""Tasks: shell scripts that go on without a connection, each begun once."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import BinaryIO

from .common import TASKS, Json, answer, read, write

DEAD_S = 30.0
"""Seconds without a sign of life after which a task counts as lost."""
BEAT_S = 2.0


def start(request: Json, body: BinaryIO) -> None:
    """Begin the task ``name``: run ``script``. If it has begun, say so.

    ``again``: when it begins once more although it has: "failed" (it ended with another code than 0, or was lost, and
    made no experiment), or "ended" (in any case, unless it runs).
    """
    place = f"{TASKS}/{request['name']}"
    os.makedirs(place, exist_ok=True)
    while True:
        last = max((int(name) for name in os.listdir(place) if name.isdigit()), default=0)
        now = state(f"{place}/{last}") if last else None
        if now is not None and not _begins_again(now, request["again"]):
            answer(task=f"{place}/{last}", began=False, **now, script=read(f"{place}/{last}/script"))
            return
        task = f"{place}/{last + 1}"
        try:
            os.mkdir(task, 0o700)
        except FileExistsError:
            continue  # another laptop was quicker
        _beat(task)
        write(f"{task}/script", request["script"])
        _supervise(os.path.abspath(task), request["script"])
        answer(task=task, began=True, **state(task))
        return


def _begins_again(now: Json, again: str) -> bool:
    if now["state"] == "running":
        return False
    if again == "ended":
        return True
    return bool(now["code"] != 0 and not now["experiments"])


def state(task: str) -> Json:
    """Whether a task is running, ended (with a code), or lost (it ended without a word)."""
    code = read(f"{task}/exit")
    experiments = read(f"{task}/experiments").splitlines()
    if code:
        return {"state": "ended", "code": int(code), "experiments": experiments}
    with contextlib.suppress(OSError):
        os.utime(TASKS)  # what time it is on the file server
        if os.stat(TASKS).st_mtime - os.stat(f"{task}/alive").st_mtime < DEAD_S:
            return {"state": "running", "code": None, "experiments": experiments}
    return {"state": "lost", "code": None, "experiments": experiments}


def _beat(task: str) -> None:
    with contextlib.suppress(OSError), open(f"{task}/alive", "ab"):
        os.utime(f"{task}/alive")


def _supervise(task: str, script: str) -> None:
    """Run the script in a process of its own, which belongs to no connection."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            _attend(task, script)
    finally:
        os._exit(0)


def _attend(task: str, script: str) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(f"{task}/output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, 1024)
    process = subprocess.Popen(["bash", "-c", script], env={**os.environ, "HPCTUNE_LAUNCH_DIR": task})
    while True:
        try:
            code = process.wait(BEAT_S)
            break
        except subprocess.TimeoutExpired:
            _beat(task)
    write(f"{task}/exit", str(code if code >= 0 else 128 - code))
