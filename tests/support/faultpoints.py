"""Every effect of a driver on the world, counted; at the n-th it dies as by kill -9: nothing of it comes after.

As a program, ``python faultpoints.py DIRECTORY N SCRIPT`` runs SCRIPT, really killed at its N-th effect on it.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = frozenset({"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink"})


class Killed(BaseException):
    """The driver dies here."""


class FaultPoints:
    """Counts, while :meth:`watched`, what changes files below ``root``, and what is :meth:`hit` by hand.

    ``seen`` names every point passed. With ``kill_at`` N the N-th (from 1) does not happen any more, nor does anything
    after it: cleaning up is for those who live. A write has two points: before it, and in the middle of it.
    """

    def __init__(self, root: Path, kill_at: int = 0) -> None:
        self.root, self.kill_at = str(root), kill_at
        self.seen: list[str] = []
        self.dead = False
        self._active = False

    def hit(self, name: str) -> None:
        """Something is about to happen."""
        if not self._active:
            return
        if self.dead:
            raise Killed(name)
        self.seen.append(name)
        if len(self.seen) == self.kill_at:
            self.dead = True
            self.die(name)

    def die(self, name: str) -> None:
        """It was this."""
        raise Killed(name)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """The driver acts meanwhile."""
        self._active = True
        try:
            yield
        finally:
            self._active = False

    @contextlib.contextmanager
    def others(self) -> Iterator[None]:
        """Somebody else acts meanwhile: it is no effect of the driver's."""
        before, self._active = self._active, False
        try:
            yield
        finally:
            self._active = before

    def audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        """What Python says that it is about to do."""
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES and self._ours(path):
                self.hit(f"open {Path(os.fsdecode(path)).name}")
        elif event in _CHANGES and any(self._ours(path) for path in arguments[:2]):
            self.hit(f"{event} {Path(os.fsdecode(arguments[0])).name}")

    def _ours(self, path: object) -> bool:
        return isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(self.root)

    def write(self, real: Callable[..., int], fd: int, data: Any, *rest: Any) -> int:
        """os.write or os.pwrite."""
        if not self._active:
            return real(fd, data, *rest)
        name = Path(f"/proc/self/fd/{fd}").readlink().name
        self.hit(f"write {name}")
        if len(self.seen) + 1 == self.kill_at:
            real(fd, bytes(data)[: len(data) // 2], *rest)
        self.hit(f"half of a write {name}")
        return real(fd, data, *rest)


_listening: list[FaultPoints] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    for points in _listening:
        points.audited(event, arguments)


_hooked: list[bool] = []


@contextlib.contextmanager
def installed(points: FaultPoints) -> Iterator[None]:
    """Let ``points`` see what happens."""
    if not _hooked:
        sys.addaudithook(_listen)  # for good: a hook cannot be taken away
        _hooked.append(True)
    real_write, real_pwrite = os.write, os.pwrite
    os.write = lambda *given: points.write(real_write, *given)
    os.pwrite = lambda *given: points.write(real_pwrite, *given)
    _listening.append(points)
    try:
        yield
    finally:
        _listening.remove(points)
        os.write, os.pwrite = real_write, real_pwrite


class Real(FaultPoints):
    """Really killed. Starting a process is an effect as well."""

    def die(self, name: str) -> None:
        with self.others():
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("subprocess.Popen", "os.kill", "os.killpg"):
            self.hit(event)
        else:
            super().audited(event, arguments)


def main(directory: str, number: str, script: str) -> None:
    """The program. It says on stderr how many effects there were, should it live."""
    points = Real(Path(directory), int(number))
    with installed(points), points.watched():
        runpy.run_path(script, run_name="__main__")
    print(f"effects: {len(points.seen)}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
