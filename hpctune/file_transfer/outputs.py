"""What a run writes: copied to the driver's host, in the order in which it may become visible there."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from hpctune.file_transfer.entry import is_shared, mode_in
from hpctune.file_transfer.place import Place
from hpctune.file_transfer.server import Server
from hpctune.storage import checkpoints
from hpctune.storage.ownership import DOOMED_PREFIX, STAGING_PREFIX
from hpctune.storage.run_file import SOME

_NAMED = b'"checkpoint"'
_EXIT = b'{"exit"'
REPLACED_WITHIN_S = 2.0
"""Seconds in which a checkpoint that is saved again under its name is there again."""


class RunFileCopy:
    """The run file of the run, from its claim to its exit record, and the checkpoints that it names.

    A line is copied after the checkpoint that it names is there, complete. Whatever breaks, the next call goes on.
    """

    def __init__(self, server: Server, place: Place) -> None:
        self._server, self._place = server, place
        self._name = ""
        self.sent = 0
        """Bytes of the run file that arrived."""
        self._checkpoints = CheckpointCopies(server, place)

    @property
    def claimed(self) -> bool:
        """Whether the run holds its run key, also on the driver's host."""
        return self.sent > 0

    def claim(self, name: str, claim: bytes) -> bool:
        """Claim the run key on the driver's host with the claim that the worker has written in its run file ``name``.

        Returns False if it is taken there: then the other's run file is here in place of the worker's. May be called
        again after an error.
        """
        local, there = self._place.paths.root / name, f"{self._place.trial}/{name}"
        mode = mode_in(self._server.entry(self._place.trial))
        draft = self._place.paths.root / f".{name}.{os.urandom(6).hex()}.new"
        draft.write_bytes(claim)
        try:
            self._server.put(draft, f"{self._place.trial}/{draft.name}", mode=mode)
            ours = self._server.rename_unless_there(f"{self._place.trial}/{draft.name}", there)
        finally:
            draft.unlink()
        if not ours:
            self._server.remove(f"{self._place.trial}/{draft.name}")
            theirs = self._server.read(there)
            ours = theirs.startswith(claim)  # an earlier call was successful, and its answer lost
            if not ours:
                local.write_bytes(theirs)
        if ours:
            self._name, self.sent = name, len(claim)
        return ours

    def tidy(self) -> None:
        """Remove partial checkpoints that earlier runs, which were killed, have left there."""
        for name in self._server.entries(self._place.trial):
            if name.startswith((STAGING_PREFIX, DOOMED_PREFIX)):
                self._server.remove_tree(f"{self._place.trial}/{name}")

    def grown(self) -> bool:
        """Whether there may be something to copy."""
        try:
            return self.claimed and os.stat(self._local).st_size > self.sent
        except FileNotFoundError:  # the run was given up
            return False

    def copy(self, *, to_the_end: bool = False) -> None:
        """Copy what is new, without the exit record unless ``to_the_end``."""
        while lines := self._new_lines():
            waiting = b""
            for line in lines:
                if line.startswith(_EXIT) and not to_the_end:
                    self._write(waiting)
                    return
                if (name := _checkpoint_in(line)) is not None:
                    self._write(waiting)
                    waiting = b""
                    self._checkpoints.send(name)
                waiting += line
            self._write(waiting)

    def _new_lines(self) -> list[bytes]:
        """Some complete lines that are not there yet."""
        try:
            with open(self._local, "rb") as file:
                file.seek(self.sent)
                data = file.read(SOME)
                while b"\n" not in data and (more := file.read(SOME)):
                    data += more
        except FileNotFoundError:
            return []
        return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)

    @property
    def _local(self) -> str:
        return self._place.paths.at(self._name)

    def _write(self, lines: bytes) -> None:
        if lines:
            self._server.write_at(f"{self._place.trial}/{self._name}", self.sent, lines)
            self.sent += len(lines)


class CheckpointCopies:
    """Checkpoints of the run: each appears there whole, under its name. Here the newest one is kept, from which the run
    may go on and whose files the next one may share."""

    def __init__(self, server: Server, place: Place) -> None:
        self._server, self._place = server, place
        self._sent: dict[str, tuple[int, int]] = {}
        """The checkpoints that arrived, each with what tells it from another one of its name."""
        self._draft: tuple[str, tuple[int, int], str] | None = None
        """The one that is being copied, what tells it from another one, and its name there meanwhile."""
        self._whole = False
        """Whether all of it is there."""

    def send(self, name: str) -> None:
        """Bring one there, unless it is. One that user code has removed is left out, as on a common filesystem."""
        local = self._place.paths.checkpoint(name)
        identity = _identity(local, name in self._sent)
        if identity is None or self._sent.get(name) == identity:
            return
        if self._draft is None or self._draft[:2] != (name, identity):
            self._begin(name, identity)
        assert self._draft is not None
        draft = f"{self._place.trial}/{self._draft[2]}"
        if not self._whole:
            try:
                self._server.put_tree(local, draft, shared=is_shared(self._server.entry(self._place.trial)))
            except FileNotFoundError:
                if _identity(local, True) == identity:
                    raise
                self.send(name)  # it was replaced while it was copied
                return
            self._whole = True
        self._publish(draft, f"{self._place.trial}/{name}")
        self._draft = None
        self._sent[name] = identity
        self._remove_older(name)

    def _begin(self, name: str, identity: tuple[int, int]) -> None:
        if self._draft is not None:
            self._server.remove_tree(f"{self._place.trial}/{self._draft[2]}")
        self._draft, self._whole = (name, identity, f"{STAGING_PREFIX}{os.urandom(6).hex()}"), False

    def _publish(self, draft: str, target: str) -> None:
        """Give it its name. If the answer to an earlier try was lost, it may have it already."""
        if not self._server.exists(draft):
            return
        doomed = ""
        if self._server.exists(target):  # the run has saved this iteration before: the later one counts
            doomed = f"{self._place.trial}/{DOOMED_PREFIX}{os.urandom(6).hex()}"
            self._server.rename(target, doomed)
        self._server.rename(draft, target)
        if doomed:
            self._server.remove_tree(doomed)

    def _remove_older(self, newest: str) -> None:
        for name in [name for name in self._sent if name != newest]:
            checkpoints.delete(self._place.paths.checkpoint(name))


def _identity(checkpoint: Path, at_once: bool) -> tuple[int, int] | None:
    """What tells a checkpoint from another one that gets its name. None if it is not there, and does not come back
    while it is replaced."""
    deadline = time.monotonic() + (0.0 if at_once else REPLACED_WITHIN_S)
    while True:
        try:
            found = checkpoint.stat()
            return found.st_ino, found.st_mtime_ns
        except FileNotFoundError:
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.05)


def _checkpoint_in(line: bytes) -> str | None:
    """The checkpoint that a line of a run file names."""
    if _NAMED not in line:
        return None
    try:
        name = json.loads(line).get("checkpoint")
    except (ValueError, AttributeError):  # a line that a full disk has cut off
        return None
    return name if isinstance(name, str) else None
