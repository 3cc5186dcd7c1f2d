"""The files of a server as a filesystem of fsspec: by SFTP, over a connection as ssh makes it.

fsspec has an implementation of its own. It accepts every server's key, and does not read ``~/.ssh/config``.
"""

from __future__ import annotations

import contextlib
import stat
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem

from hpctune.errors import ConnectionLostError, UsageError
from hpctune.ssh import ssh_config
from hpctune.ssh.authentication import refusing_to_ask
from hpctune.ssh.connection import Connection, Traffic
from hpctune.ssh.sessions import SftpSessions

if TYPE_CHECKING:
    from paramiko import SFTPAttributes, SFTPClient, SFTPFile

_HOME = "/~/"
"""How the path of a URL begins that is meant from the home directory: ``sftp://host/~/dir``."""


_NEVER_ASK = refusing_to_ask("no question is asked while files are copied. Load a key into the agent (ssh-add).")


def parse_url(url: str) -> tuple[str, str | None, int | None, str]:
    """Host, user, port and path of ``sftp://user@host:port/dir``. Raises UsageError."""
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    user, _, address = place.rpartition("@")
    if ":" in user:
        raise UsageError(
            f"{scheme}://{user.partition(':')[0]}:...@{address}: a password must not be in a URL. Use a key: ssh-add, "
            "or IdentityFile in ~/.ssh/config."
        )
    host, colon, port = address.rpartition(":") if not address.endswith("]") else (address, "", "")
    host = (host if colon else address).strip("[]")
    if not host or not slash or not path.strip("/") or (colon and not (port.isdigit() and 0 < int(port) < 65536)):
        raise UsageError(f"{url} must be {scheme}://USER@HOST:PORT/DIRECTORY; USER@ and :PORT may be missing.")
    path = f"/{path}"
    return host, user or None, int(port) if colon else None, path[len(_HOME) :] if path.startswith(_HOME) else path


class SshFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Files of ``host``, a name of ``~/.ssh/config`` or an address. The connection is made at the first use, and made
    again after it broke. Threads may share it.

    Methods raise OSError for what is wrong with a file, RemoteClusterError if the server refuses (an unknown host, no
    key that it accepts), ConnectionLostError if it cannot be reached.
    """

    protocol = ("sftp", "ssh")
    cachable = False
    root_marker = ""

    def __init__(self, host: str, user: str | None = None, port: int | None = None) -> None:
        super().__init__()
        self._host = ssh_config.lookup(host, user, port)
        self._lock = threading.Lock()
        self._sessions: SftpSessions | None = None

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return path if isinstance(path, list) else str(path)

    def connect(self) -> SftpSessions:
        """The sessions, of a new connection if there is none that lives."""
        with self._lock:
            if self._sessions is None or not self._sessions.alive:
                self._drop()
                self._sessions = SftpSessions(Connection(self._host, Traffic(), _NEVER_ASK))
            return self._sessions

    def close(self) -> None:
        """End the connection. The next use makes a new one."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._sessions is not None:
            self._sessions.connection.close()
            self._sessions = None

    @contextlib.contextmanager
    def _client(self) -> Iterator[SFTPClient]:
        sessions = self.connect()
        with sessions.connection.breaking(), sessions.client() as client:
            yield client

    # -- what fsspec calls ----------------------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """The entries of a directory: their names, or with ``detail`` also their sizes (bytes) and kinds."""
        with self._client() as client:
            found = [_described(f"{path.rstrip('/')}/{one.filename}", one) for one in client.listdir_attr(path)]
        return found if detail else sorted(one["name"] for one in found)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """The size (bytes) and the kind of a file."""
        with self._client() as client:
            return _described(path, client.stat(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and those above it. Another thread or program may make them at the same time."""
        if not path or self.isdir(path):  # "": the home directory
            if not exist_ok:
                raise FileExistsError(path)
            return
        if (parent := path.rpartition("/")[0]) and parent != path:
            self.makedirs(parent, exist_ok=True)
        try:
            with self._client() as client:
                client.mkdir(path)
        except ConnectionLostError:
            raise
        except OSError:
            if not self.isdir(path):
                raise

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Make a directory."""
        if create_parents:
            self.makedirs(path)
        else:
            with self._client() as client:
                client.mkdir(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        with self._client() as client:
            client.rmdir(path)

    def rm_file(self, path: str) -> None:
        """Remove a file."""
        with self._client() as client:
            client.remove(path)

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        """Give a file another name, in one step. A file that has the name is replaced."""
        with self._client() as client:
            client.posix_rename(path1, path2)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> _OpenFile:
        stack = contextlib.ExitStack()
        with contextlib.ExitStack() as failing:
            failing.push(stack)
            client = stack.enter_context(self._client())
            file = stack.enter_context(client.open(path, mode))
            if "r" in mode:
                file.prefetch()
            else:
                file.set_pipelined(True)
            failing.pop_all()
        return _OpenFile(file, stack)


class _OpenFile:
    """A file of the server that keeps its session until it is closed."""

    def __init__(self, file: SFTPFile, stack: contextlib.ExitStack) -> None:
        self._file, self._stack = file, stack
        self.read, self.write, self.seek, self.tell = file.read, file.write, file.seek, file.tell

    def __enter__(self) -> _OpenFile:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def close(self) -> None:
        """Close it; an error of a write before may be raised only now."""
        self._stack.close()


def _described(name: str, found: SFTPAttributes) -> dict[str, Any]:
    mode = found.st_mode or 0
    kind = "directory" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "file"
    return {"name": name, "size": found.st_size or 0, "type": kind, "mtime": found.st_mtime}
