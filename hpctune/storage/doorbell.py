"""A doorbell: datagrams that say "look now" and nothing else, so that nobody has to wait for the next poll.

The driver binds a UDP port and writes where, with a token, to ``doorbell.json``. A run that has something to say rings
there; the driver looks, and, when it has acted, rings back to whoever rang lately. A datagram holds the token only:
what is to be done stands in the files as ever. Without a file, a route or an answer everything happens at the polls.
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
"""Seconds for which somebody who has rung is rung back."""
_LOOPBACK = "127.0.0.1"
_LONGEST = 64
_LEAVES = b"-"
"""Behind the token: whoever has rung is gone, and is not to be rung back. That is no ring."""


class Doorbell:
    """The driver's end. ``path``: its file. ``everywhere``: reachable from other hosts, else from this one alone.

    Raises OSError where no port can be had.
    """

    def __init__(self, path: StrPath, *, everywhere: bool) -> None:
        self._path, self._token = path, os.urandom(16).hex()
        self.rung = False
        """Whether anybody has rung since whoever looks has set this to False."""
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
        """For select: readable when somebody has rung."""
        return self._socket.fileno()

    def heard(self) -> bool:
        """Whether somebody with the token has rung since this was asked last."""
        import hmac  # here: it takes memory that each trial of a worker would have a part in

        rung = False
        while True:
            try:
                data, sender = self._socket.recvfrom(_LONGEST)
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
        """Ring back to those who have rung lately."""
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
        """Take the bell down; a file that a later driver has put in its place stays."""
        self._socket.close()
        with contextlib.suppress(OSError):
            if atomic.read(self._path).decode().strip() == self._text:
                os.unlink(self._path)


class DoorbellClient:
    """A run's end. Makes no sound, and never fails, where there is no bell."""

    def __init__(self, path: StrPath) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._token, self._address = b"", ("", 0)

    def ring(self) -> None:
        """Tell the driver to look now."""
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
        """What becomes readable when the driver rings back (for select); empty before the first ring, and where nobody
        listens any more."""
        return [] if self._socket is None else [self._socket]

    def heard(self) -> bool:
        """Whether the driver has rung back since this was asked last."""
        rung = False
        while self._socket is not None:
            try:
                data = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return rung
            except OSError:  # nobody listens there any more
                self.close()
                return rung
            rung = rung or data == self._token
        return rung

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until the driver rings back."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not wait_readable(self.ends(), left) or self.heard():
                return

    def close(self) -> None:
        """Let go of the socket, and tell the driver so: thousands of trials may end in a minute."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(self._token + _LEAVES, self._address)
        self.forget()

    def forget(self) -> None:
        """Let go of the socket without a sound, in a forked child: it is the parent's, who waits for an answer."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
