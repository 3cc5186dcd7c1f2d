"""The SFTP sessions of one connection, for threads that work side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hpctune.errors import ConnectionLostError, RemoteClusterError
from hpctune.ssh.connection import Connection

if TYPE_CHECKING:
    from paramiko import SFTPClient


class SftpSessions:
    """Sessions of ``connection``, opened as they are needed, as many as the server allows."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._free: queue.Queue[SFTPClient] = queue.Queue()
        self._opened: list[SFTPClient] = []
        self._opening = threading.Lock()
        self._all_opened = False

    @property
    def alive(self) -> bool:
        """Whether the connection and all sessions are open."""
        return self.connection.alive and not any(_is_closed(one) for one in self._opened)

    @contextlib.contextmanager
    def client(self) -> Iterator[SFTPClient]:
        """A session that no other thread uses. If the server opens no more, the threads share what there is.

        Raises RemoteClusterError if the server opens none.
        """
        try:
            client = self._free.get_nowait()
        except queue.Empty:
            client = self._another() or self._free.get()
        try:
            yield client
        finally:
            self._free.put(client)

    def _another(self) -> SFTPClient | None:
        """One more session; None if the server allows no more than there are."""
        with self._opening:
            if self._all_opened:
                return None
            try:
                client = self.connection.files(patient=not self._opened)
            except ConnectionLostError:
                raise
            except RemoteClusterError:
                self._all_opened = bool(self._opened)
                if not self._opened:
                    raise
                return None
            self._opened.append(client)
            return client

    def close(self) -> None:
        """End the sessions."""
        for client in self._opened:
            client.close()


def _is_closed(client: SFTPClient) -> bool:
    channel = client.get_channel()
    return channel is None or channel.closed
