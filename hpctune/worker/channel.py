"""The receiving end of :mod:`hpctune.worker.client`: takes reports from child processes and other nodes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpctune.common import forks
from hpctune.common.log import log
from hpctune.errors import CheckpointError, StorageError
from hpctune.storage import atomic, values
from hpctune.worker import client, scratch
from hpctune.worker.end_of_run import EndOfRun
from hpctune.worker.session import Session

SPOOL = ".reports"
SPOOL_POLL_S = 0.2
REFUSED_S = 0.1
"""Pause in seconds after the system has refused a connection that still waits."""


class Channel:
    """Listens on a private Unix socket. With ``other_nodes`` it also polls a directory of the trial.

    ``environment``: the variables by which the trial's programs find the channel and describe the trial. If no socket
    can be made, only reports of child processes are lost, and a message on stderr says so.
    """

    def __init__(self, session: Session, *, other_nodes: bool) -> None:
        self._session = session
        self._directory: Path | None = None
        """Directory of this process that holds the socket."""
        self._address = ""
        self._listener = self._listen()
        self._spool = self._make_spool() if other_nodes else None
        self._closed = threading.Event() if self._spool is not None else None
        """Stops the thread that polls the directory."""
        self.environment = {
            client.SOCKET_VARIABLE: self._address,
            client.SPOOL_VARIABLE: str(self._spool or ""),
            client.CHECKPOINT_VARIABLE: str(session.restored or ""),
            client.TRIAL_ID_VARIABLE: session.control.trial_id,
            client.TRIAL_NAME_VARIABLE: session.control.trial_name,
            client.TRIAL_DIR_VARIABLE: session.paths.text,
        }
        forks.own(self)
        session.watch(self._listener, self._accept)
        if self._spool is not None and self._closed is not None:
            _start(self._watch_spool, self._spool, self._closed)

    def take(self, line: bytes) -> Mapping[str, Any]:
        """Report what ``line`` contains; returns the answer."""
        try:
            message = json.loads(line)
            checkpoint = message.get("checkpoint")
            self._session.report(message["metrics"], Path(checkpoint) if checkpoint else None)
        except EndOfRun:
            return {"stop": True}
        except CheckpointError as error:
            return {"error": str(error), "counted": True}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"stop": bool(self._session.interrupted)}

    # -- the same node ------------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket | None:
        together = scratch.socket_directory()
        if together is not None:
            with contextlib.suppress(OSError):
                return self._bound(f"{together}/{os.getpid()}")
        trouble: OSError | None = None
        for parent in scratch.SOCKET_PARENTS:
            try:
                self._directory = scratch.make(parent)
                return self._bound(f"{self._directory}/s")
            except OSError as error:
                trouble = error
                self._remove_socket()
        log.warning(f"hpctune: child processes cannot report here: no socket can be made ({trouble}).")
        return None

    def _bound(self, address: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(address)
            listener.listen(64)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        self._address = address
        return listener

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:  # the client has gone
            return
        except OSError:  # no file descriptor is left: the client waits
            time.sleep(REFUSED_S)
            return
        connection.setblocking(True)
        try:
            _start(self._serve, connection)
        except RuntimeError:  # no thread can be started: the client gets a closed connection
            connection.close()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            line = lines.readline()
            if line:
                connection.sendall(values.dumps(self.take(line)).encode() + b"\n")

    # -- other nodes of the job ---------------------------------------------------------------------------------

    def _make_spool(self) -> Path | None:
        spool = self._session.paths.root / SPOOL
        try:
            spool.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            log.warning(f"hpctune: other nodes cannot report here: {error}.")
            return None
        return spool

    def _watch_spool(self, spool: Path, closed: threading.Event) -> None:
        while not closed.wait(SPOOL_POLL_S):
            with contextlib.suppress(OSError, StorageError):
                for request in sorted(spool.iterdir()):
                    if request.suffix == ".json" and not request.name.startswith("."):
                        line = request.read_bytes()
                        request.unlink()
                        atomic.write(request.with_suffix(".answer"), values.dumps(self.take(line)))

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop listening and remove the socket and the directory."""
        if self._closed is not None:
            self._closed.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread, which then ends
            self._listener.close()
        self._remove_socket()
        if self._spool is not None:
            shutil.rmtree(self._spool, ignore_errors=True)

    def forget(self) -> None:
        """In a forked child: close the listener. Its reports use the environment, like those of any other process."""
        if self._listener is not None:
            self._listener.close()

    def _remove_socket(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        elif self._address:
            with contextlib.suppress(OSError):
                os.unlink(self._address)


def _start(target: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=target, args=args, name="hpctune-reports", daemon=True).start()
