"""Our side of the visibility test with the node's program: how long each side takes to see the other's writes."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from hpctune.site.node import program as nodeprogram
from hpctune.site.node.facts import NodeFacts
from hpctune.site.node.program import KINDS, PATIENCE_S, RACES
from hpctune.site.storage.checks import Visibility

ROUNDS = 3
LONG_S = 10.0
"""A round that took longer is not repeated."""
PROGRAM = "program.py"
Alive = Callable[[], bool]
"""Whether the other side may still answer."""


@dataclass(frozen=True, slots=True)
class Round:
    """Times of both clocks: when we acted, when the node saw each change; when it acted, when we saw each change."""

    here_acted: float
    there_saw: Mapping[str, float]
    there_acted: float
    here_saw: Mapping[str, float]

    @property
    def skew(self) -> tuple[float, float] | None:
        """The node's clock less ours, and how sure that is (seconds): from the quickest way there and back."""
        if not self.there_saw or not self.here_saw:
            return None
        out = min(self.there_saw.values()) - self.here_acted
        back = min(self.here_saw.values()) - self.there_acted
        return (out - back) / 2, abs(out + back) / 2


@dataclass(slots=True)
class Locks:
    """Locks that we hold while the other side tries them."""

    folder: Path
    _open: list[int] = field(default_factory=list)

    def __enter__(self) -> Locks:
        for how in ("flock", "fcntl"):
            path = self.folder / f"lock-{how}"
            path.touch(0o600)
            fd = os.open(path, os.O_RDWR)
            self._open.append(fd)
            try:
                (fcntl.flock if how == "flock" else fcntl.lockf)(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # earlier checks report the reason
                continue
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for fd in self._open:
            os.close(fd)


def set_up(folder: Path, packages: Sequence[str], foreign: Sequence[str]) -> Path:
    """Write all files that the node's program needs; returns their directory."""
    nodeprogram.prepare(folder, "here")
    order = {"packages": list(packages), "foreign": list(foreign), "rounds": ROUNDS}
    nodeprogram.put(folder / "order.json", json.dumps(order))
    program = folder / PROGRAM
    shutil.copyfile(nodeprogram.__file__, program)
    return program


def await_file(folder: Path, name: str, patience_s: float, alive: Alive) -> str | None:
    """The file's content, once it exists; None if it does not appear, or no process is left to write it."""
    deadline = time.monotonic() + patience_s
    pause = 0.02
    while not (text := nodeprogram.text_of(folder / name)):
        if time.monotonic() > deadline or not alive():
            return nodeprogram.text_of(folder / name) or None
        time.sleep(pause)
        pause = min(pause * 1.2, 0.5)
    return text


def play(folder: Path, alive: Alive, say: Callable[[str], None]) -> list[Round]:
    """A few rounds; fewer if they are slow."""
    rounds: list[Round] = []
    for number in range(1, ROUNDS + 1):
        say(f"visibility, round {number} of {ROUNDS}")
        time.sleep(0.3)  # let the other side look before the file exists, because a missing file may be cached, too
        began = time.time()
        acted = nodeprogram.act(folder, "here", number)
        here_saw = nodeprogram.watch(folder, "node", number, began + 2 * PATIENCE_S)
        there = await_file(folder, f"acted-{number}", PATIENCE_S, alive)
        saw = await_file(folder, f"seen-{number}", PATIENCE_S, alive)
        if there is None or saw is None:
            break
        rounds.append(Round(acted, json.loads(saw), json.loads(there), here_saw))
        if time.time() - began > LONG_S or not alive():
            break
    return rounds


def judge(rounds: Sequence[Round]) -> tuple[Visibility | None, tuple[float, float] | None]:
    """The longest delays, and the skew of the clocks as the surest round has it."""
    skews = [r.skew for r in rounds if r.skew is not None]
    if not skews:
        return None, None
    skew, error = min(skews, key=lambda s: s[1])
    there = {kind: _longest([_delay(r.there_saw, kind, r.here_acted, -skew) for r in rounds]) for kind in KINDS}
    back = {kind: _longest([_delay(r.here_saw, kind, r.there_acted, skew) for r in rounds]) for kind in KINDS}
    return Visibility(there, back), (skew, error)


def _delay(saw: Mapping[str, float], kind: str, acted: float, skew: float) -> float | None:
    return max(0.0, saw[kind] - acted + skew) if kind in saw else None


def _longest(delays: Sequence[float | None]) -> float | None:
    known = [d for d in delays if d is not None]
    return max(known) if len(known) == len(delays) else None


def race(folder: Path, node: NodeFacts, alive: Alive) -> NodeFacts:
    """Both sides create the same files exclusively; adds to the facts how that went."""
    nodeprogram.put(folder / "race", "go")
    nodeprogram.race(folder, "here")
    theirs = await_file(folder, "won-node", PATIENCE_S, alive)
    if theirs is None:
        return node
    ours = json.loads(nodeprogram.text_of(folder / "won-here"))
    return replace(node, races=RACES, races_twice=len(set(ours) & set(json.loads(theirs))))
