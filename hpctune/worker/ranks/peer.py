"""The head's end of the connection to one rank, and what is known of the rank."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpctune.worker.ranks.link import encoded, lines_of
from hpctune.worker.ranks.world import LOOPBACK, Hello

_MAX_HELLO = 65_536
_UNKNOWN = Hello(-1, "", "", 0, 0, LOOPBACK)


@dataclass(slots=True)
class Peer:
    """``address``: where it is. ``report``: one that waits for its answer. ``failed``: kind, message and traceback of
    its error. ``gone``: its connection has ended without a word. ``staged``: a checkpoint after the last report."""

    connection: socket.socket
    address: str
    hello: Hello = _UNKNOWN
    known: bool = False
    heard_at: float = field(default_factory=time.monotonic)
    report: dict[str, Any] | None = None
    done: bool = False
    staged: str | None = None
    failed: tuple[str, str, str] | None = None
    gone: bool = False
    stack: str = ""
    _received: bytes = b""

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have arrived; None if the connection is over, or is not one of ours."""
        try:
            chunk = self.connection.recv(1 << 20)
        except OSError:
            chunk = b""
        if not chunk:
            return None
        self.heard_at = time.monotonic()
        lines, self._received = lines_of(self._received + chunk)
        if not self.known and len(self._received) > _MAX_HELLO:
            return None
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError:
            return None
        return messages if all(isinstance(message, dict) for message in messages) else None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; a rank that is gone is found when its connection is read."""
        with contextlib.suppress(OSError):
            self.connection.sendall(encoded(message))

    def take_report(self) -> dict[str, Any]:
        """The report that waits; it does so no longer."""
        report, self.report = self.report, None
        assert report is not None
        return report
