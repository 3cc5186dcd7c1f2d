"""Runs on a compute node, from a copy in the shared directory: says what it finds there, and plays ping-pong by files.

It uses the standard library only and nothing of hpctune: whether that can be imported there is one of the questions.
Both sides write in one way, and look in one way; the other side imports it from here.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

RACES = 40
PATIENCE_S = 65.0
"""How long one change may take to be seen."""
MAX_S = 240.0
KINDS = ("create", "append", "rename", "listing")
_IMPORT = "import time; t = time.monotonic(); import hpctune; print(time.monotonic() - t, hpctune.__version__)"


def put(path: Path, text: str) -> None:
    """Appear at once, whole."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def text_of(path: Path) -> str:
    """The current content, read with a new open; "" if the file does not exist (yet)."""
    try:
        return path.read_text()
    except OSError:
        return ""


def prepare(folder: Path, side: str) -> None:
    """Create the files that are changed later, so that the other side may cache them."""
    for kind in ("append", "rename"):
        (folder / f"{kind}-{side}").write_text("")


def act(folder: Path, side: str, number: int) -> float:
    """Make a change of each kind, as ``side``; returns when."""
    at = time.time()
    with (folder / f"append-{side}").open("a") as file:
        file.write(f"{number}\n")
        file.flush()
        os.fsync(file.fileno())
    put(folder / f"rename-{side}", f"{number}\n")
    (folder / f"create-{side}-{number}").write_text("x\n")
    return at


def look(folder: Path, side: str, number: int) -> dict[str, bool]:
    """Which changes of ``side`` can be seen now."""
    new = f"create-{side}-{number}"
    return {
        "create": text_of(folder / new) != "",
        "append": f"{number}\n" in text_of(folder / f"append-{side}"),
        "rename": text_of(folder / f"rename-{side}") == f"{number}\n",
        "listing": any(path.name == new for path in folder.iterdir()),
    }


def watch(folder: Path, side: str, number: int, until: float) -> dict[str, float]:
    """When each change of ``side`` was first seen; changes not seen in time are missing."""
    seen: dict[str, float] = {}
    pause = 0.01
    while len(seen) < len(KINDS) and time.time() < until:
        for kind, visible in look(folder, side, number).items():
            if visible:
                seen.setdefault(kind, time.time())
        time.sleep(pause)
        pause = min(pause * 1.1, 0.25)
    return seen


def lock(path: Path, how: str) -> str:
    """What we get of a lock that the other side holds."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError as error:
        return f"error: {error.strerror}"
    try:
        (fcntl.flock if how == "flock" else fcntl.lockf)(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "blocked"
    except OSError as error:
        return f"error: {error.strerror}"
    finally:
        os.close(fd)
    return "acquired"


def race(folder: Path, side: str) -> None:
    """Create many files exclusively, and report which creations succeeded."""
    won = []
    for number in range(RACES):
        try:
            os.close(os.open(folder / f"race-{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError:
            continue
        won.append(number)
    put(folder / f"won-{side}", json.dumps(won))


def versions(names: list[str]) -> dict[str, str]:
    """Versions of packages; "" for those that are not there."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


def imported() -> dict[str, Any]:
    """Seconds for ``import hpctune`` in a process of its own, or what went wrong."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    words = done.stdout.split()
    if done.returncode or len(words) != 2:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return {"seconds": float(words[0]), "version": words[1]}


def gpus() -> dict[str, Any]:
    """GPUs that this process may use: from the environment, and their number from the driver."""
    listed = None
    program = shutil.which("nvidia-smi")
    if program is not None:
        try:
            done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=False)
            listed = sum(line.startswith("GPU") for line in done.stdout.splitlines())
        except (OSError, subprocess.TimeoutExpired):
            listed = None
    return {"visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "listed": listed}


def facts(folder: Path, packages: list[str], foreign: list[str]) -> dict[str, Any]:
    """About this machine. ``foreign``: variables that must not be set here."""
    leaked = [name for name in os.environ if name.startswith("SBATCH_") or name in foreign]
    return {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": versions(packages),
        "hpctune": imported(),
        "tools": {name: shutil.which(name) is not None for name in ("scontrol", "sbatch", "srun")},
        "leaked": sorted(leaked),
        "gpus": gpus(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "locks": {how: lock(folder / f"lock-{how}", how) for how in ("flock", "fcntl")},
    }


def main() -> None:
    """Follow the order file in the shared directory."""
    folder = Path(sys.argv[1])
    put(folder / "started", socket.gethostname())
    order = json.loads((folder / "order.json").read_text())
    deadline = time.time() + MAX_S
    prepare(folder, "node")
    put(folder / "facts.json", json.dumps(facts(folder, order["packages"], order["foreign"])))
    for number in range(1, order["rounds"] + 1):
        seen = watch(folder, "here", number, min(time.time() + PATIENCE_S, deadline))
        put(folder / f"seen-{number}", json.dumps(seen))
        put(folder / f"acted-{number}", json.dumps(act(folder, "node", number)))
        if len(seen) < len(KINDS):
            break
    while "race" not in {path.name for path in folder.iterdir()} and time.time() < deadline:
        time.sleep(0.02)
    race(folder, "node")


if __name__ == "__main__":
    main()
