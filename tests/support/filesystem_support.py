"""Real filesystems that misbehave: one that is small, and one directory as two nodes with caches see it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


def needs(condition: object, what: str, *, installed: bool = False) -> None:
    """Skip where this machine cannot do it. What the test command installs must be there in CI."""
    if condition:
        return
    if installed and os.environ.get("CI") == "true":
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"needs {what}")


@contextlib.contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A filesystem of ``size`` (such as ``1m``)."""
    needs(os.geteuid() == 0, "root, who can mount a tmpfs")
    directory = tempfile.mkdtemp(prefix="hpctune-small-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], check=False)
    try:
        needs(mounted.returncode == 0, "the right to mount a tmpfs")
        yield Path(directory)
    finally:
        subprocess.run(["umount", "--lazy", directory], capture_output=True, check=False)
        Path(directory).rmdir()


def fill(disk: Path) -> Path:
    """Take all the room there is; the file to be removed when it is wanted again."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


@dataclass(frozen=True)
class TwoClients:
    """One directory, mounted twice with the caches of a shared filesystem: what is done through one of the two is seen
    through the other only when its caches have expired."""

    one: Path
    other: Path

    def python_of_the_other(self, python: str) -> Path:
        """An interpreter whose process sees, at the path of the first mount, the other one: a second node."""
        script = self.one.parent / "python-of-the-other"
        script.write_text(
            "#!/bin/sh\nexec unshare --mount sh -c "
            f"""'mount --bind "{self.other}" "{self.one}" && cd / && exec "{python}" "$@"' sh "$@"\n"""
        )
        script.chmod(0o755)
        return script


@contextlib.contextmanager
def two_clients(cache_s: float) -> Iterator[TwoClients]:
    """Two mounts of one directory whose attributes, names and missing names are cached for ``cache_s`` seconds."""
    needs(shutil.which("bindfs"), "bindfs", installed=os.geteuid() == 0)
    needs(os.geteuid() == 0 and Path("/dev/fuse").exists(), "root and /dev/fuse")
    root = Path(tempfile.mkdtemp(prefix="hpctune-clients-"))
    root.chmod(0o755)
    back, one, other = (root / name for name in ("back", "one", "other"))
    caches = ",".join(f"{what}_timeout={cache_s:g}" for what in ("attr", "entry", "negative"))
    try:
        for directory in (back, one, other):
            directory.mkdir()
        for mount in (one, other):
            subprocess.run(["bindfs", "-o", f"{caches},allow_other", str(back), str(mount)], check=True)
        yield TwoClients(one, other)
    finally:
        for mount in (one, other):
            subprocess.run(["umount", "--lazy", str(mount)], capture_output=True, check=False)
        shutil.rmtree(root, ignore_errors=True)
