"""SFTP through a socket of this machine, behind which the driver serves the experiment's files (see ``served.py``)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hpctune.errors import ConnectionLostError

if TYPE_CHECKING:
    from paramiko import SFTPClient

PREFIX = "unix:"
"""How the name of such a server begins; the path of the socket follows."""
_ANSWER_S = 120.0
"""Seconds without an answer after which a new connection is made."""


@contextlib.contextmanager
def short_address(path: str) -> Iterator[str]:
    """Another path to the socket ``path``, valid in the block: the kernel takes no more than 107 bytes."""
    directory, name = os.path.split(path)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{fd}"
        yield f"{short}/{name}" if os.path.exists(short) else path
    finally:
        os.close(fd)


class SocketConnection:
    """A connection to the socket ``path``. Raises ConnectionLostError if nobody listens there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._channel: _Channel | None = None

    @property
    def alive(self) -> bool:
        """Whether it was not closed."""
        return self._channel is not None and not self._channel.closed

    def files(self) -> SFTPClient:
        """The files there."""
        import paramiko

        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(_ANSWER_S)
        with self.breaking():
            try:
                with short_address(self._path) as address:
                    made.connect(address)
            except OSError as error:
                made.close()
                raise ConnectionLostError("The driver's machine is not connected now.") from error
            self._channel = _Channel(made)
            channel: Any = self._channel
            return paramiko.SFTPClient(channel)

    @contextlib.contextmanager
    def breaking(self) -> Iterator[None]:
        """What a broken connection raises in the block, as one error."""
        import paramiko

        try:
            yield
        except (paramiko.SSHException, EOFError, TimeoutError, ConnectionError) as error:
            self.close()
            raise ConnectionLostError("The connection to the driver's machine was lost.") from error

    def close(self) -> None:
        """End it."""
        if self._channel is not None:
            self._channel.close()


class _Channel:
    """A socket with the names that paramiko uses of a channel."""

    def __init__(self, made: socket.socket) -> None:
        self._socket, self.closed = made, False

    def recv(self, size: int) -> bytes:
        return self._socket.recv(size)

    def send(self, data: bytes) -> int:
        return self._socket.send(data)

    def close(self) -> None:
        self.closed = True
        self._socket.close()

    def get_name(self) -> str:
        return "socket"
