"""The doorbell: UDP datagrams by which the driver and the runs tell each other to read the files now.

Without it, each side waits for its next poll. The driver binds a UDP port and writes the address, with a token, to
``doorbell.json``. A run with news rings there. The driver reads the files, acts, and then rings back to everyone who
rang lately. A datagram holds only the token; all content is in the files. If there is no file, no route or no answer,
the polls still find everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from typing import TYPE_CHECKING

from hpctune.common import forks
from hpctune.common.poll import wait_readable
from hpctune.errors import StorageError
from hpctune.storage import atomic

if TYPE_CHECKING:
    from _typeshed import StrPath

ANSWERED_WITHIN_S = 60.0
"""Seconds during which the driver rings back to a sender."""
_LOOPBACK = "127.0.0.1"
_MAX_BYTES = 64
_LEAVES = b"-"
"""Appended to the token: the sender has ended, and the driver must not ring back. This does not count as a ring."""


class Doorbell:
    """The driver's side. ``path``: its file. ``everywhere``: reachable from other hosts; else only from this host.

    Raises OSError if no port is available.
    """

    def __init__(self, path: StrPath, *, everywhere: bool) -> None:
        self._path, self._token = path, os.urandom(16).hex()
        self.rung = False
        """Whether anyone has rung since this was last set to False."""
        self._ringers: dict[tuple[str, int], float] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind(("" if everywhere else _LOOPBACK, 0))
            host = socket.getfqdn() if everywhere else _LOOPBACK
            self._text = json.dumps({"host": host, "port": self._socket.getsockname()[1], "token": self._token})
            atomic.write(path, self._text + "\n")
            forks.own(self)
        except (OSError, StorageError):
            self._socket.close()
            raise

    def fileno(self) -> int:
        """A descriptor for select. It is readable after someone has rung."""
        return self._socket.fileno()

    def heard(self) -> bool:
        """Whether anyone with the token has rung since the last call."""
        import hmac  # imported here, because it takes memory in every trial process of a worker

        rung = False
        while True:
            try:
                data, sender = self._socket.recvfrom(_MAX_BYTES)
            except OSError:
                return rung
            if not hmac.compare_digest(data.removesuffix(_LEAVES), self._token.encode()):
                continue
            if data.endswith(_LEAVES):
                self._ringers.pop(sender, None)
            else:
                self._ringers[sender] = time.monotonic()
                rung = self.rung = True

    def answer(self) -> None:
        """Ring back to everyone who rang in the last :data:`ANSWERED_WITHIN_S` seconds."""
        limit = time.monotonic() - ANSWERED_WITHIN_S
        for address, at in list(self._ringers.items()):
            if at < limit:
                del self._ringers[address]
                continue
            with contextlib.suppress(OSError):
                self._socket.sendto(self._token.encode(), address)

    def forget(self) -> None:
        """In a forked child: let go of the port; the bell is the parent's."""
        self._socket.close()

    def close(self) -> None:
        """Close the port and remove the file, unless a later driver has replaced the file."""
        self._socket.close()
        with contextlib.suppress(OSError):
            if atomic.read(self._path).decode().strip() == self._text:
                os.unlink(self._path)


class DoorbellClient:
    """A run's side. Does nothing if the driver has no doorbell; never raises."""

    def __init__(self, path: StrPath) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._token, self._address = b"", ("", 0)

    def ring(self) -> None:
        """Tell the driver to read the files now."""
        try:
            data = json.loads(atomic.read(self._path))
            self._token = str(data["token"]).encode()
            if self._socket is None:
                self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
                forks.own(self)
            self._address = str(data["host"]), int(data["port"])
            self._socket.sendto(self._token, self._address)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return

    def ends(self) -> list[socket.socket]:
        """Sockets for select, readable after the driver has rung back.

        Empty before the first ring, and if no driver listens any more.
        """
        return [] if self._socket is None else [self._socket]

    def heard(self) -> bool:
        """Whether the driver has rung back since the last call."""
        rung = False
        while self._socket is not None:
            try:
                data = self._socket.recv(_MAX_BYTES)
            except BlockingIOError:
                return rung
            except OSError:  # no driver listens there any more
                self.close()
                return rung
            rung = rung or data == self._token
        return rung

    def wait(self, seconds: float) -> None:
        """Wait for ``seconds``, or until the driver rings back."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not wait_readable(self.ends(), left) or self.heard():
                return

    def close(self) -> None:
        """Close the socket and tell the driver, so that it does not ring back to thousands of ended trials."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(self._token + _LEAVES, self._address)
        self.forget()

    def forget(self) -> None:
        """Close the socket without telling the driver. For a forked child: its parent uses the same socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
