"""The output of tasks and of driver jobs, as it grows."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import BinaryIO

from .common import BLOCK, Json, answer, names
from .tasks import state

LOOK_S = 0.3
SIGN_S = 5.0
"""Seconds between two lines that only say that the connection lives."""
STATUS_S = 15.0
MAX_LOAD = 20
"""Minimum pause between two calls of ``hpctune status``, as a multiple of the time that one takes."""
LAST_WORDS_S = 5.0
"""Seconds that the driver job may take to write its last lines and end, after the search is over."""


def follow(request: Json, body: BinaryIO) -> None:
    """The output of ``task`` from byte ``at`` on; a negative one counts from the end."""
    task, at, said = request["task"], request["at"], time.monotonic()
    at = at if at >= 0 else _near_end(f"{task}/output", -at)
    while True:
        now = state(task)
        text, at = _more(f"{task}/output", at, whole=now["state"] != "running")
        if text:
            answer(at=at, text=text)
            said = time.monotonic()
        elif now["state"] != "running":
            answer(over=now)
            return
        elif time.monotonic() - said > SIGN_S:
            answer(alive=True)
            said = time.monotonic()
        time.sleep(0 if text else LOOK_S)


def _near_end(path: str, bytes_: int) -> int:
    """Where a line begins that is about ``bytes_`` before the end of a file."""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            if end <= bytes_:
                return 0
            file.seek(end - bytes_ - 1)  # the rest of the line before
            return end - bytes_ - 1 + len(file.readline())
    except FileNotFoundError:
        return 0


def _more(path: str, at: int, *, whole: bool) -> tuple[str, int]:
    """What a file has from ``at`` on, up to the end of its last line unless it is ``whole``; and where that ends."""
    try:
        with open(path, "rb") as file:
            file.seek(at)
            data = file.read(BLOCK)
    except FileNotFoundError:
        return "", at
    if not whole and len(data) < BLOCK:
        data = data[: data.rfind(b"\n") + 1]
    return data.decode("utf-8", errors="replace"), at + len(data)


def follow_driver(request: Json, body: BinaryIO) -> None:
    """The output of the driver jobs of ``experiment``, from byte ``at`` of job ``job`` on; a negative ``at`` means the
    last job, and counts from its end. ``status``: the command that prints the experiment's status as JSON."""
    drivers = f"{request['experiment']}/drivers"
    job, at = request["job"], request["at"]
    if at < 0:
        job = max(_driver_jobs(drivers), default=0)
        at = _near_end(f"{drivers}/{job}.out", -at)
    seen, due, said = "", 0.0, time.monotonic()
    over, until = None, float("inf")
    while True:
        shown = False
        for name in _driver_jobs(drivers):
            if name < job:
                continue
            text, end = _more(f"{drivers}/{name}.out", at if name == job else 0, whole=False)
            if text:
                job, at, shown, said = name, end, True, time.monotonic()
                answer(job=job, at=at, text=text)
        if over is not None and not shown:  # all that was written before it has been answered
            answer(over=over)
            return
        news = "".join(f"{n}{os.stat(f'{drivers}/{n}').st_mtime_ns}" for n in names(drivers) if n.endswith(".json"))
        if not shown and (time.monotonic() >= due or news != seen):
            seen, began = news, time.monotonic()
            status = _status(request["status"])
            due = time.monotonic() + max(STATUS_S, MAX_LOAD * (time.monotonic() - began))
            if status is not None and _is_over(status):
                until = min(until, time.monotonic() + LAST_WORDS_S)
                if not _driver_jobs_of(status).get("running") or time.monotonic() >= until:
                    over = status
                    continue
                due = min(due, until)
        if time.monotonic() - said > SIGN_S:
            answer(alive=True)
            said = time.monotonic()
        time.sleep(LOOK_S)


def _driver_jobs(drivers: str) -> list[int]:
    """The ids of the jobs that have written something."""
    return sorted(int(n[:-4]) for n in names(drivers) if n.endswith(".out") and n[:-4].isdigit())


def _status(command: list[str]) -> Json | None:
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        return None


def _driver_jobs_of(status: Json) -> Json:
    return (status.get("driver") or {}).get("jobs") or {}


def _is_over(status: Json) -> bool:
    """Whether the search is over, or no driver will go on with it."""
    jobs = _driver_jobs_of(status)
    left = status["state"] in ("left", "gone") and not jobs.get("running") and not jobs.get("waiting")
    return status["state"] == "finished" or left
