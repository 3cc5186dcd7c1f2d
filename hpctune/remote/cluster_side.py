"""What is done on the cluster: a program of the standard library, which is brought along and run there by its path.

It is called with the name of an operation, in the directory of the cluster's entry. A request is one line of JSON on
stdin; answers are lines of JSON on stdout. Every operation may be repeated, and any number of them may run at once:

- ``look``: what is there.
- ``put``: store files under the hashes of their contents (``files/``). They come as a tar archive after the request.
- ``join``: make one stored file of several that are pieces of it.
- ``assemble``: make a directory of stored files, by rename.
- ``use``: note the interpreter of later commands.
- ``start``: begin a task, unless it has begun. A task is a shell script that goes on without a connection.
- ``follow``: the output of a task, until it is over.
- ``follow_driver``: the output of an experiment's driver jobs, until the experiment is over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

FILES, TASKS = "files", "tasks"
DEAD_S = 30.0
"""Seconds without a sign of life after which a task counts as lost."""
BEAT_S = 2.0
LOOK_S = 0.3
SIGN_S = 5.0
"""Seconds between two lines that only say that the connection lives."""
STATUS_S = 15.0
MAX_LOAD = 20
_BLOCK = 1 << 16
Json = dict[str, Any]


def answer(**values: Any) -> None:
    """Print one line of the answer."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


# -- files ------------------------------------------------------------------------------------------------------------


def look(request: Json, body: BinaryIO) -> None:
    """``hashes``: those that may be missing; ``directories``: those that may exist; ``project``: whose file names are
    known from earlier; ``named``: whether this interpreter must have hpctune; ``task``: whether it ended well;
    ``experiment``: whether its driver is a job (None: it was not started by us)."""
    version, why = (None, "")
    if request.get("named"):
        version, why = _version(sys.executable)
    answer(
        here=os.getcwd(),
        host=socket.gethostname(),
        interpreter=sys.executable,
        python=platform.python_version(),
        free=shutil.disk_usage(".").free,
        slurm=shutil.which("sbatch") is not None,
        there=[name for name in request.get("directories", []) if os.path.isdir(name)],
        missing=[name for name in request.get("hashes", []) if not os.path.exists(f"{FILES}/{name}")],
        names=_known_names(request.get("project")),
        environments=[name for name in _names("envs") if os.path.isdir(f"envs/{name}/complete")],
        done=_ended_well(request.get("task")),
        sbatch=_has_driver_job(request.get("experiment")),
        hpctune=version,
        why=why,
    )


def _version(python: str) -> tuple[str | None, str]:
    code = "from hpctune.version import VERSION; print(VERSION)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    lines = done.stderr.strip().splitlines()
    return (done.stdout.strip(), "") if done.returncode == 0 else (None, lines[-1] if lines else "it failed")


def _known_names(project: str | None) -> list[str]:
    """The names of the files that were brought for ``project`` last."""
    try:
        with open(f"code/{project}.names", encoding="utf-8") as file:
            return list(json.load(file))
    except (OSError, ValueError):
        return []


def _ended_well(name: str | None) -> bool:
    place = f"{TASKS}/{name}"
    return any(_read(f"{place}/{number}/exit") == "0" for number in _names(place))


def _has_driver_job(experiment: str | None) -> bool | None:
    for name in _names(TASKS):
        for number in sorted(_names(f"{TASKS}/{name}"), reverse=True):
            roots = _read(f"{TASKS}/{name}/{number}/experiments").splitlines()
            if experiment and any(root == experiment or root.endswith(f"/{experiment}") for root in roots):
                return " --sbatch" in _read(f"{TASKS}/{name}/{number}/script")
    return None


def put(request: Json, body: BinaryIO) -> None:
    """Store the members of the archive, whose names are the hashes of their contents."""
    os.makedirs(FILES, exist_ok=True)
    stored = 0
    with tarfile.open(fileobj=body, mode="r|") as archive:
        for member in archive:
            source = archive.extractfile(member)
            if source is None or not set(member.name) <= set("0123456789abcdef"):
                raise ValueError(f"{member.name} is no hash")
            _store(iter(lambda source=source: source.read(_BLOCK), b""), member.name)  # type: ignore[misc]
            stored += 1
    answer(stored=stored)


def join(request: Json, body: BinaryIO) -> None:
    """Store the content ``hash``, which consists of the stored ``pieces``, and remove these."""
    whole = f"{FILES}/{request['hash']}"
    try:
        if not os.path.exists(whole):
            _store(_blocks_of(request["pieces"]), request["hash"])
    except FileNotFoundError:
        if not os.path.exists(whole):  # else another laptop was quicker, and has removed the pieces
            raise
    for name in request["pieces"]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{FILES}/{name}")
    answer(joined=request["hash"])


def _blocks_of(names: list[str]) -> Iterator[bytes]:
    for name in names:
        with open(f"{FILES}/{name}", "rb") as file:
            while block := file.read(_BLOCK):
                yield block


def _store(blocks: Iterable[bytes], name: str) -> None:
    temporary = f"{FILES}/.{name}.{os.getpid()}.{os.urandom(4).hex()}"
    digest = hashlib.sha256()
    try:
        with open(temporary, "wb") as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != name:
            raise ValueError(f"{name} came damaged")
        os.replace(temporary, f"{FILES}/{name}")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def assemble(request: Json, body: BinaryIO) -> None:
    """Make ``directory`` of ``files``: [path, hash, executable] or [path, target of a link]. ``project``: remember
    the names for it."""
    target = request["directory"]
    if not os.path.isdir(target):
        draft = f"{os.path.dirname(target)}/.{os.path.basename(target)}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            os.makedirs(draft)
            for path, *rest in request["files"]:
                _place(f"{draft}/{path}", rest)
            with contextlib.suppress(OSError):  # another laptop was quicker, with the same content
                os.rename(draft, target)
            if not os.path.isdir(target):
                raise OSError(0, "cannot be made", target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    if request.get("project"):
        _write(f"code/{request['project']}.names", json.dumps([path for path, *_ in request["files"]]))
    answer(directory=os.path.abspath(target))


def _place(path: str, rest: list[Any]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if len(rest) == 1:
        os.symlink(rest[0], path)
        return
    shutil.copyfile(f"{FILES}/{rest[0]}", path)
    os.chmod(path, 0o700 if rest[1] else 0o600)


def _write(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def use(request: Json, body: BinaryIO) -> None:
    """Note the interpreter that later commands use."""
    _write("python", request["python"])
    answer(python=request["python"])


# -- tasks ------------------------------------------------------------------------------------------------------------


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
            answer(task=f"{place}/{last}", began=False, **now, script=_read(f"{place}/{last}/script"))
            return
        task = f"{place}/{last + 1}"
        try:
            os.mkdir(task, 0o700)
        except FileExistsError:
            continue  # another laptop was quicker
        _beat(task)
        _write(f"{task}/script", request["script"])
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
    code = _read(f"{task}/exit")
    experiments = _read(f"{task}/experiments").splitlines()
    if code:
        return {"state": "ended", "code": int(code), "experiments": experiments}
    with contextlib.suppress(OSError):
        os.utime(TASKS)  # what time it is on the file server
        if os.stat(TASKS).st_mtime - os.stat(f"{task}/alive").st_mtime < DEAD_S:
            return {"state": "running", "code": None, "experiments": experiments}
    return {"state": "lost", "code": None, "experiments": experiments}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


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
    _write(f"{task}/exit", str(code if code >= 0 else 128 - code))


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
            data = file.read(_BLOCK)
    except FileNotFoundError:
        return "", at
    if not whole and len(data) < _BLOCK:
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
    while True:
        shown = False
        for name in _driver_jobs(drivers):
            if name < job:
                continue
            text, end = _more(f"{drivers}/{name}.out", at if name == job else 0, whole=False)
            if text:
                job, at, shown, said = name, end, True, time.monotonic()
                answer(job=job, at=at, text=text)
        news = "".join(f"{n}{os.stat(f'{drivers}/{n}').st_mtime_ns}" for n in _names(drivers) if n.endswith(".json"))
        if not shown and (time.monotonic() >= due or news != seen):
            seen, began = news, time.monotonic()
            status = _status(request["status"])
            due = time.monotonic() + max(STATUS_S, MAX_LOAD * (time.monotonic() - began))
            if status is not None and _is_over(status):
                answer(over=status)
                return
        if time.monotonic() - said > SIGN_S:
            answer(alive=True)
            said = time.monotonic()
        time.sleep(LOOK_S)


def _driver_jobs(drivers: str) -> list[int]:
    """The ids of the jobs that have written something."""
    return sorted(int(n[:-4]) for n in _names(drivers) if n.endswith(".out") and n[:-4].isdigit())


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _status(command: list[str]) -> Json | None:
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        return None


def _is_over(status: Json) -> bool:
    """Whether the search is over, or nobody will go on with it."""
    jobs = (status.get("driver") or {}).get("jobs") or {}
    left = status["state"] in ("left", "gone") and not jobs.get("running") and not jobs.get("waiting")
    return status["state"] == "finished" or left


OPERATIONS = {f.__name__: f for f in (look, put, join, assemble, use, start, follow, follow_driver)}


def main() -> int:
    """The program."""
    os.umask(0o077)
    body = sys.stdin.buffer
    try:
        line = body.readline()
        if not line.endswith(b"\n"):
            return 1  # the connection broke before all was said
        OPERATIONS[sys.argv[1]](json.loads(line), body)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        answer(error=error.strerror or str(error), path=error.filename or os.getcwd(), number=error.errno)
        return 1
    except (ValueError, tarfile.TarError) as error:
        answer(error=str(error), path="", number=None)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
