"""``Session``: what one command does with a cluster. A broken connection is made again if that needs no answers."""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from hpctune.common.backoff import Backoff
from hpctune.common.log import log
from hpctune.common.text import quoted
from hpctune.errors import ConnectionLostError, RemoteClusterError
from hpctune.remote import program, shell
from hpctune.remote.address import RemoteCluster
from hpctune.ssh import ssh_config
from hpctune.ssh.authentication import Ask, Authentication, ask_on_terminal
from hpctune.ssh.connection import Connection, Sink, Terminal, Traffic

RETRY_S = (0.5, 15.0)
PATIENCE_S = 600.0
"""Seconds for which a broken connection is made again, counted from its last success."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_T = TypeVar("_T")
Json = dict[str, Any]


class Session:
    """A cluster, and the connection to it, which is made when it is needed."""

    def __init__(self, cluster: RemoteCluster, ask: Ask = ask_on_terminal) -> None:
        self.cluster = cluster
        self.traffic = Traffic()
        self._host = ssh_config.lookup(cluster.host, cluster.user, cluster.port)
        self._ask = ask
        self._authentications: dict[str, Authentication] = {}
        self._connection: Connection | None = None
        self._file, self._program = program.build()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def connection(self) -> Connection:
        """The open connection."""
        if self._connection is None:
            self._connection = Connection(self._host, self.traffic, self._ask, self._authentications)
        return self._connection

    def insisting(self, action: Callable[[], _T], progress: Callable[[], object] = lambda: None) -> _T:
        """``action``, again if the connection breaks; so it must be one that may be repeated.

        ``progress``: what changes as long as there is progress. Raises ConnectionLostError if a new connection needs
        the user, if the first one cannot be made, or after PATIENCE_S seconds without progress.
        """
        pauses, since, before = Backoff(*RETRY_S), time.monotonic(), progress()
        reached = self._connection is not None
        while True:
            try:
                _ = self.connection
                reached = True
                return action()
            except ConnectionLostError as error:
                usable = self._connection is None or self._connection.can_reconnect
                self.close()
                if progress() != before:
                    before, since = progress(), time.monotonic()
                    pauses.reset()
                if not (reached and usable) or time.monotonic() - since > PATIENCE_S:
                    raise
                log.info(f"{error} Connecting again.")
                self.traffic.reconnects += 1
                time.sleep(pauses.take())

    # -- the program there ------------------------------------------------------------------------------------------

    def call(self, operation: str, body: Callable[[], Iterable[bytes]] = lambda: (), **request: Any) -> Json:
        """The answer of one operation of :mod:`.cluster_side`. ``body``: what follows the request."""
        answers: list[Json] = []

        def once() -> None:
            answers.clear()
            self._operate(operation, request, body, answers.append)

        self.insisting(once)
        if not answers:
            raise RemoteClusterError(f"{self._host}: the operation {operation!r} gave no answer.")
        return answers[-1]

    def stream(self, operation: str, request: Callable[[], Json], sink: Callable[[Json], object]) -> None:
        """All answers of an operation, as they come. ``request`` is asked again after each loss of the connection."""
        self.insisting(lambda: self._operate(operation, request(), lambda: (), sink), request)

    def _operate(
        self, operation: str, request: Json, body: Callable[[], Iterable[bytes]], sink: Callable[[Json], object]
    ) -> None:
        command = shell.program(self.cluster, self._file, [operation])
        head = json.dumps(request).encode() + b"\n"
        for attempt in range(2):
            lines, errors = _Lines(self._checked(sink)), bytearray()

            def whole() -> Iterator[bytes]:
                yield head
                yield from body()

            code = self.connection.run(command, whole(), lines.add, errors.extend)
            if code == shell.NO_PROGRAM and attempt == 0:
                self._bring_program()
                continue
            if code:
                raise self._failed(code, errors.decode(errors="replace"))
            return

    def _checked(self, sink: Callable[[Json], object]) -> Callable[[Json], object]:
        def take(line: Json) -> None:
            if "error" in line:
                raise self._there(line["error"], line["path"], line["number"])
            sink(line)

        return take

    def _there(self, text: str, path: str, number: int | None) -> RemoteClusterError:
        """An error that a file there has caused."""
        where = f"{self._host}: {path}: {text}." if path else f"{self._host}: {text}."
        if number in _FULL:
            where += (
                f" The disk or your quota there is full. Free some space, or set another 'directory' for "
                f"{self.cluster.name} (now {self.cluster.directory})."
            )
        return RemoteClusterError(where)

    def _bring_program(self) -> None:
        errors = bytearray()
        command = shell.store(self.cluster, self._file, len(self._program))
        code = self.connection.run(command, [self._program], None, errors.extend)
        if code:
            raise self._failed(code, errors.decode(errors="replace"))

    def _failed(self, code: int, stderr: str) -> RemoteClusterError:
        """What an exit code of a command line of :mod:`.shell` means."""
        last = (stderr.strip().splitlines() or [""])[-1]
        cluster, host = self.cluster, self._host
        if any(words in last for words in ("No space left", "Disk quota exceeded", "File too large")):
            return self._there(last.rstrip("."), "", errno.ENOSPC)
        if code == shell.NO_PYTHON and cluster.python:
            return RemoteClusterError(
                f"{host}: there is no {cluster.python}. Correct 'python' of {cluster.name}, or leave it out, then an "
                "environment is made."
            )
        if code == shell.NO_PYTHON:
            return RemoteClusterError(
                f"{host}: there is no Python from 3.11 on in the login shell. Name a module that has one: "
                f'modules = ["python/3.11"], or an interpreter: python = "/path/to/python", for {cluster.name} in '
                "clusters.toml."
            )
        if code == shell.NO_DIRECTORY:
            return RemoteClusterError(f"{host}: {cluster.directory} cannot be made: {last}. Set another 'directory'.")
        if code == shell.NOT_SET_UP:
            return RemoteClusterError(f"{host}: a module or a line of 'setup' of {cluster.name} failed: {last}")
        if code == shell.NO_ENVIRONMENT:
            return RemoteClusterError(
                f"Nothing was started on {cluster.name} yet, so hpctune is not there. First: hpctune run CONFIG.py "
                f"--on {quoted(cluster.name)}, or: hpctune doctor --on {quoted(cluster.name)}"
            )
        return RemoteClusterError(f"{host}: a command ended with code {code}: {last or 'without a word'}")

    # -- its command line -------------------------------------------------------------------------------------------

    def hpctune(
        self, words: list[str], variables: dict[str, str], stdout: Sink, stderr: Sink, terminal: Terminal | None = None,
        started: Callable[[Any], object] | None = None,
    ) -> int:  # fmt: skip
        """Run ``hpctune`` there once, and hand on what it prints. Returns its exit code."""
        command = shell.hpctune(self.cluster, words, variables, terminal=terminal is not None)
        last = bytearray()

        def errors(data: bytes) -> None:
            last.extend(data)
            stderr(data)

        code = self.connection.run(command, None, stdout, errors, terminal, started)
        if code in (shell.NO_PYTHON, shell.NO_ENVIRONMENT, shell.NO_DIRECTORY, shell.NOT_SET_UP):
            raise self._failed(code, last.decode(errors="replace"))
        return code


class _Lines:
    """Collects bytes, and hands on each whole line as JSON. Lines that are none go to stderr."""

    def __init__(self, sink: Callable[[Json], object]) -> None:
        self._sink = sink
        self._rest = b""

    def add(self, data: bytes) -> None:
        """Take more bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                print(line.decode(errors="replace"), file=sys.stderr)
                continue
            self._sink(value)
