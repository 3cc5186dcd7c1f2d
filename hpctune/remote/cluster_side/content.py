"""Files on the cluster: what is there, what comes, and what is made of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from .common import BLOCK, FILES, TASKS, Json, answer, names, read, write


def look(request: Json, body: BinaryIO) -> None:
    """``hashes``: those that may be missing; ``directories``: those that may exist; ``project``: whose file names are
    known from earlier; ``named``: whether this interpreter must have hpctune; ``task``: whether it ended well;
    ``experiment``: how it was
    started."""
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
        environments=[name for name in names("envs") if os.path.isdir(f"envs/{name}/complete")],
        done=_ended_well(request.get("task")),
        launched=_launched(request.get("experiment")),
        used=read("python"),
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
    return any(read(f"{place}/{number}/exit") == "0" for number in names(place))


def _launched(experiment: str | None) -> Json | None:
    """How ``experiment`` was started: by which interpreter, and whether its driver is a job. None: not by us."""
    for name in names(TASKS):
        for number in sorted(names(f"{TASKS}/{name}"), reverse=True):
            roots = read(f"{TASKS}/{name}/{number}/experiments").splitlines()
            if experiment and any(root == experiment or root.endswith(f"/{experiment}") for root in roots):
                script = read(f"{TASKS}/{name}/{number}/script")
                return {"python": shlex.split(script.splitlines()[-1])[1], "sbatch": " --sbatch" in script}
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
            _store(iter(lambda source=source: source.read(BLOCK), b""), member.name)  # type: ignore[misc]
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
            while block := file.read(BLOCK):
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
        write(f"code/{request['project']}.names", json.dumps([path for path, *_ in request["files"]]))
    answer(directory=os.path.abspath(target))


def _place(path: str, rest: list[Any]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if len(rest) == 1:
        os.symlink(rest[0], path)
        return
    shutil.copyfile(f"{FILES}/{rest[0]}", path)
    os.chmod(path, 0o700 if rest[1] else 0o600)


def use(request: Json, body: BinaryIO) -> None:
    """Note the interpreter that later commands use."""
    write("python", request["python"])
    answer(python=request["python"])
