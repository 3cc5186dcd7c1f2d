"""The files on the driver's host, by SFTP: a connection that is made again when it broke, and steps that may be
repeated.

Data is written at the place where it belongs, never appended. So if a connection breaks and the server goes on with
what it had received, it writes the same bytes to the same place as the connection after it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpctune.file_transfer.entry import Entry, described, draft_name, file_mode
from hpctune.file_transfer.options import split
from hpctune.file_transfer.socket_connection import PREFIX, SocketConnection
from hpctune.ssh import ssh_config
from hpctune.ssh.authentication import refusing_to_ask
from hpctune.ssh.connection import Connection, Traffic
from hpctune.storage import permissions
from hpctune.storage.ownership import STAGING_PREFIX

if TYPE_CHECKING:
    from paramiko import SFTPAttributes, SFTPClient, SFTPFile

BLOCK = 1 << 18
"""Bytes between two chances to do something else."""
LARGE_BLOCK = 1 << 20
"""The same, and bytes of one request, if the server is hpctune's own. Each write waits for its answer, so on a long way
a file is as slow as its requests are small; others need not take more than 32 kB."""
_LANES = 8
"""Connections that copy the files of a directory side by side, if the server is hpctune's own: on a long way a small
file is nothing but waiting for answers."""
_MEANWHILE_S = 0.2
"""Seconds between two calls of ``meanwhile`` while they copy."""
_AHEAD = 64
"""Blocks of a file that are asked for before the first of them is here."""


_NEVER_ASK = refusing_to_ask(
    "a job cannot answer questions. Jobs need a private key without a passphrase that the server accepts: name it with "
    "IdentityFile in ~/.ssh/config, or HPCTUNE_CLUSTER_SSH_KEY."
)


def _connecting(server: str, agent: bool, traffic: Traffic) -> Callable[[], Connection | SocketConnection]:
    """What makes a connection to ``server``: a host, or a socket of this machine."""
    if server.startswith(PREFIX):
        return lambda: SocketConnection(server[len(PREFIX) :])
    name, user, port = split(server)
    host = ssh_config.lookup(name, user, port)
    host = host if agent else ssh_config.without_agent(host)
    return lambda: Connection(host, traffic, _NEVER_ASK)


_Step = Callable[["Server"], object]


class Server:
    """The files of one host (``[USER@]HOST[:PORT]``), or what is served behind a socket (``unix:PATH``).

    Methods raise OSError for what is wrong with a file, RemoteClusterError if the host refuses the connection,
    ConnectionLostError where it breaks. The next call makes a new connection.

    ``agent``: whether keys of the user's agent may be used. ``meanwhile`` is called now and then during long copies.
    """

    def __init__(self, server: str, *, agent: bool = True) -> None:
        self.traffic = Traffic()
        self.meanwhile: Callable[[], object] = lambda: None
        self._name, self._agent = server, agent
        self._connect = _connecting(server, agent, self.traffic)
        self._is_ours = server.startswith(PREFIX)
        self._connection: Connection | SocketConnection | None = None
        self._client: SFTPClient | None = None

    @contextlib.contextmanager
    def files(self) -> Iterator[SFTPClient]:
        """The files there."""
        connection, client = self._connected()
        with connection.breaking():
            yield client

    def _connected(self) -> tuple[Connection | SocketConnection, SFTPClient]:
        if self._connection is not None and self._client is not None and self._connection.alive:
            channel = self._client.get_channel()
            if channel is not None and not channel.closed:
                return self._connection, self._client
        self.close()
        connection = self._connect()
        try:
            client = connection.files()
        except BaseException:
            connection.close()
            raise
        self._connection, self._client = connection, client
        return connection, client

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._client = None

    # -- looking ------------------------------------------------------------------------------------------------

    def entries(self, directory: str) -> dict[str, Entry]:
        """What is in a directory. Raises FileNotFoundError."""
        with self.files() as client:
            return {one.filename: described(one) for one in client.listdir_attr(directory)}

    def entry(self, path: str) -> Entry:
        """One file or directory. Raises FileNotFoundError."""
        with self.files() as client:
            return described(client.stat(path))

    def exists(self, path: str) -> bool:
        """Whether it is there."""
        try:
            self.entry(path)
        except FileNotFoundError:
            return False
        return True

    def read(self, path: str, start: int = 0) -> bytes:
        """The content of a small file, from the byte ``start`` on. Raises FileNotFoundError."""
        with self.files() as client, client.open(path, "rb") as file:
            file.seek(start)
            data: bytes = file.read()
        return data

    # -- getting ------------------------------------------------------------------------------------------------

    @property
    def moved(self) -> int:
        """Bytes of files that were copied so far, either way."""
        return self.traffic.sent + self.traffic.received

    def get(self, path: str, target: Path, entry: Entry) -> None:
        """Copy a file to this machine. It gets its name when it is whole. If a part of it is here, of an earlier try,
        go on behind it. ``entry``: what is there."""
        draft = target.with_name(draft_name(target.name, entry))
        with self.files() as client, client.open(path, "rb") as source, draft.open("ab") as sink:
            source.seek(sink.tell())
            source.prefetch(entry.size, _AHEAD)
            left = entry.size - sink.tell()
            while left > 0 and (data := source.read(min(BLOCK, left))):
                sink.write(data)
                left -= len(data)
                self.traffic.received += len(data)
                self.meanwhile()
        if left:
            raise OSError(f"{path} has become shorter while it was copied.")
        self.traffic.files += 1
        draft.replace(target)

    def get_tree(self, path: str, target: Path) -> None:
        """Copy a directory to this machine. Files that are there with the right size are left as they are."""
        self._do(list(self._got(path, target)))

    def _got(self, path: str, target: Path) -> Iterator[_Step]:
        """Make the directories, and give a step for each file."""
        target.mkdir(parents=True, exist_ok=True)
        for name, entry in self.entries(path).items():
            source, local = f"{path}/{name}", target / name
            if entry.is_directory:
                yield from self._got(source, local)
            elif entry.is_link:
                self._get_link(source, local)
            elif stat.S_ISREG(entry.mode) and not (local.is_file() and local.stat().st_size == entry.size):
                yield partial(_get_with_mode, path=source, target=local, entry=entry)

    def get_directory(self, path: str, target: Path) -> None:
        """Copy a directory to this machine, as :meth:`get_tree` does. It gets its name when it is whole."""
        if not target.is_dir():
            draft = target.with_name(f"{STAGING_PREFIX}{zlib.crc32(target.name.encode()):08x}")
            self.get_tree(path, draft)
            draft.rename(target)

    def _get_link(self, source: str, local: Path) -> None:
        with self.files() as client:
            text = client.readlink(source)
        if text is not None and not local.is_symlink():
            local.symlink_to(text)

    # -- putting ------------------------------------------------------------------------------------------------

    def write_at(self, path: str, offset: int, data: bytes, *, create: int | None = None) -> None:
        """Write ``data`` at ``offset``, and see that the file reaches there. Raises FileNotFoundError if the file is
        missing, unless ``create`` is given: the mode that it then gets."""
        with self.files() as client, _opened(client, path, create) as file:
            file.seek(offset)
            file.write(data)
            _check_size(path, file.stat(), offset + len(data), at_least=True)  # who reads it may remove it at once
        self.traffic.sent += len(data)

    def put(self, source: Path, path: str, *, mode: int) -> None:
        """Copy a file of this machine. If a part of it is there, of an earlier try, go on behind it."""
        with source.open("rb") as file, self.files() as client:
            size = os.fstat(file.fileno()).st_size
            with _opened(client, path, create=mode) as sink:
                there = int(sink.stat().st_size or 0)
                start = there if there <= size else 0
                if there > size:
                    sink.truncate(0)
                file.seek(start)
                sink.seek(start)
                if self._is_ours:
                    sink.MAX_REQUEST_SIZE = LARGE_BLOCK
                while data := file.read(LARGE_BLOCK if self._is_ours else BLOCK):
                    sink.write(data)
                    self.traffic.sent += len(data)
                    self.meanwhile()
            _check_size(path, client.stat(path), size)
        self.traffic.files += 1

    def put_tree(self, source: Path, path: str, *, shared: bool) -> None:
        """Copy a directory of this machine, and see that all of it is there. What is there of an earlier try is kept.
        ``shared``: the group may read it."""
        self._do(list(self._put(source, path, shared)))

    def _put(self, source: Path, path: str, shared: bool) -> Iterator[_Step]:
        """Make the directories, and give a step for each file."""
        self.make_directory(path, shared=shared)
        there = self.entries(path)
        for local in sorted(source.iterdir()):
            target = f"{path}/{local.name}"
            if local.is_symlink():
                if local.name not in there:
                    self.make_link(os.readlink(local), target)
            elif local.is_dir():
                yield from self._put(local, target, shared)
            elif local.is_file():
                yield partial(Server.put, source=local, path=target, mode=file_mode(local, shared))

    def _do(self, steps: Sequence[_Step]) -> None:
        """Do them all, side by side if that helps. The first error is raised."""
        if not self._is_ours or len(steps) <= _LANES:
            for step in steps:
                step(self)
            return
        failed = threading.Event()

        def lane(number: int) -> None:
            server = Server(self._name, agent=self._agent)
            server.traffic = self.traffic
            try:
                for step in steps[number::_LANES]:
                    if failed.is_set():
                        return
                    step(server)
            except BaseException:
                failed.set()
                raise
            finally:
                server.close()

        with ThreadPoolExecutor(_LANES) as pool:
            try:
                left = {pool.submit(lane, number) for number in range(_LANES)}
                while left:
                    done, left = wait(left, timeout=_MEANWHILE_S)
                    for one in done:
                        one.result()
                    self.meanwhile()
            except BaseException:
                failed.set()
                raise

    def make_link(self, text: str, path: str) -> None:
        """Make a symbolic link."""
        with self.files() as client:
            client.symlink(text, path)

    def make_directory(self, path: str, *, shared: bool) -> None:
        """Make a directory, if it is not there. The one above it must be there."""
        with self.files() as client:
            try:
                client.mkdir(path, permissions.PRIVATE_DIRECTORY)
            except OSError:
                if not stat.S_ISDIR(client.stat(path).st_mode or 0):
                    raise
            if shared:
                client.chmod(path, permissions.SHARED_DIRECTORY)

    def rename(self, path: str, target: str) -> None:
        """Give a file or directory another name, in one step; a file that has the name is replaced."""
        with self.files() as client:
            client.posix_rename(path, target)

    def rename_unless_there(self, path: str, target: str) -> bool:
        """Give a file another name. Returns False if that name is taken: of several callers exactly one succeeds.

        This is SFTP's own rename. (OpenSSH makes a link, and removes the former name.)
        """
        with self.files() as client:
            try:
                client.rename(path, target)
            except OSError:
                client.stat(target)  # raises if that was not the reason
                return False
        return True

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with self.files() as client, contextlib.suppress(FileNotFoundError):
            client.remove(path)

    def remove_tree(self, path: str) -> None:
        """Remove a directory, if it is there."""
        try:
            inside = self.entries(path)
        except FileNotFoundError:
            return
        for name, entry in inside.items():
            if entry.is_directory:
                self.remove_tree(f"{path}/{name}")
            else:
                self.remove(f"{path}/{name}")
        with self.files() as client, contextlib.suppress(FileNotFoundError):
            client.rmdir(path)


def _get_with_mode(server: Server, path: str, target: Path, entry: Entry) -> None:
    server.get(path, target, entry)
    target.chmod(stat.S_IMODE(entry.mode) & 0o755 | stat.S_IRUSR | stat.S_IWUSR)


@contextlib.contextmanager
def _opened(client: SFTPClient, path: str, create: int | None) -> Iterator[SFTPFile]:
    """A file to write into, with what it holds. Each write is answered before the next one, so its size tells how much
    of it is written."""
    try:
        file = client.open(path, "r+b")
    except FileNotFoundError:
        if create is None:
            raise
        file = client.open(path, "wb")
        file.chmod(create)
    try:
        yield file
    finally:
        with contextlib.suppress(EOFError):
            file.close()


def _check_size(path: str, found: SFTPAttributes, expected: int, *, at_least: bool = False) -> None:
    there = int(found.st_size or 0)
    if there < expected or (there > expected and not at_least):
        raise OSError(f"{path} has {there} bytes after {expected} were written.")
