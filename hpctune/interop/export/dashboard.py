"""optuna-dashboard on experiments: on this machine only, with a token, and following the searches."""

from __future__ import annotations

import http.cookies
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs, quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from hpctune.analysis.load import LoadedExperiment
from hpctune.common.log import log
from hpctune.common.loopback import ADDRESS, may_ask
from hpctune.errors import TuneError
from hpctune.interop.export.study import Objectives, StudyExport
from hpctune.storage.follow import fingerprint
from hpctune.storage.layout import ExperimentPaths

REFRESH_S = 5.0
"""Seconds between two looks at experiments that are not over."""
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not told."""


class DashboardServer(ThreadingMixIn, WSGIServer):
    """Serves a WSGI application on the loopback interface to those who have the token. ``port`` 0: a free one."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, app: App, port: int) -> None:
        super().__init__((ADDRESS, port), _Handler)
        self.token = secrets.token_urlsafe(24)
        self.set_app(guarded(app, self.token, f"hpctune-{self.server_port}"))

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{ADDRESS}:{self.server_port}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


def guarded(app: App, token: str, cookie: str) -> App:
    """``app`` for requests to this machine that have the token: in the address, from which on a cookie has it."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST", "")
        kept = http.cookies.SimpleCookie(environ.get("HTTP_COOKIE", "")).get(cookie)
        if kept is not None and may_ask(host, kept.value, token):
            return app(environ, start)
        given = parse_qs(environ.get("QUERY_STRING", "")).get("token", [""])[0]
        if may_ask(host, given, token):
            keep = f"{cookie}={token}; HttpOnly; SameSite=Strict; Path=/"
            path = environ.get("PATH_INFO", "/")
            there = quote(path) if path.startswith("/dashboard") else "/dashboard"
            start("303 See Other", [("Location", there), ("Set-Cookie", keep)])
            return [b""]
        start("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"Open the address that hpctune dashboard has printed: it has a token.\n"]

    return answer


class Follower:
    """Keeps studies up to date with their experiments, in a thread of its own.

    Args:
        experiments: Each with its study, and what is optimized.
        refresh_s: Seconds between two looks.
    """

    def __init__(
        self, experiments: Sequence[tuple[ExperimentPaths, StudyExport, Objectives]], refresh_s: float = REFRESH_S
    ) -> None:
        self._experiments, self._refresh_s = list(experiments), refresh_s
        self._seen: dict[Path, tuple[list[str], str]] = {}
        self._told: set[Path] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hpctune dashboard", daemon=True)

    def bring_up_to_date(self, progress: Callable[[int, int], object] = lambda done, of: None) -> None:
        """Write what is new in each experiment to its study."""
        for paths, study, objectives in self._experiments:
            live, seen = self._seen.get(paths.root, ([], ""))
            stand = fingerprint(paths, live)
            if stand != seen:
                loaded = LoadedExperiment(paths.root)
                study.write(loaded, objectives, progress)
                live = [trial.value.dirname for trial in loaded.trials if not trial.value.phase.final]
                self._seen[paths.root] = live, stand

    def start(self) -> None:
        """Follow from now on."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._refresh_s):
            try:
                self.bring_up_to_date()
            except (TuneError, OSError) as error:
                log.warning(f"hpctune: the studies cannot be brought up to date: {error}")
