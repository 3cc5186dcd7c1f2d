"""The trial's end of :mod:`hpctune.worker.client`: takes reports of child processes and other nodes."""

from __future__ import annotations

import contextlib
import json
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.errors import UsageError
from hpctune.storage import atomic, values
from hpctune.worker import client
from hpctune.worker.endings import EndOfRun
from hpctune.worker.session import Session

SPOOL = ".reports"
SPOOL_POLL_S = 0.2


class Channel:
    """Listens on a private Unix socket; with ``other_nodes`` also looks into a directory of the trial's."""

    def __init__(self, session: Session, *, other_nodes: bool) -> None:
        self._session = session
        self._directory = Path(tempfile.mkdtemp(prefix="hpctune-"))
        self._spool = session.paths.root / SPOOL if other_nodes else None
        self._closed = threading.Event()
        address = self._directory / "s"
        channel = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline()
                if line:
                    self.wfile.write(values.dumps(channel.take(line)).encode() + b"\n")

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self._server = Server(str(address), Handler)
        self.environment = {client.SOCKET_VARIABLE: str(address)}
        if session.restored is not None:
            self.environment[client.CHECKPOINT_VARIABLE] = str(session.restored)
        self._start(self._server.serve_forever)
        if self._spool is not None:
            self._spool.mkdir(exist_ok=True)
            self.environment[client.SPOOL_VARIABLE] = str(self._spool)
            self._start(self._watch_spool)

    @staticmethod
    def _start(target: Any) -> None:
        threading.Thread(target=target, name="hpctune-reports", daemon=True).start()

    def take(self, line: bytes) -> Mapping[str, Any]:
        """Report what ``line`` says; the answer."""
        try:
            message = json.loads(line)
            checkpoint = message.get("checkpoint")
            if checkpoint is not None and not Path(checkpoint).is_dir():
                raise UsageError(f"There is no checkpoint directory {checkpoint}.")
            self._session.report(message["metrics"], Path(checkpoint) if checkpoint else None)
        except EndOfRun:
            return {"stop": True}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"stop": False}

    def _watch_spool(self) -> None:
        assert self._spool is not None
        while not self._closed.wait(SPOOL_POLL_S):
            with contextlib.suppress(OSError):
                for request in sorted(self._spool.iterdir()):
                    if request.suffix == ".json" and not request.name.startswith("."):
                        line = request.read_bytes()
                        request.unlink()
                        atomic.write(request.with_suffix(".answer"), values.dumps(self.take(line)))

    def close(self) -> None:
        """Listen no more, and leave nothing behind."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._spool is not None:
            shutil.rmtree(self._spool, ignore_errors=True)
