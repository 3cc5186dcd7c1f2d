"""The server of ``hpctune serve``: the page of experiments, which follows them without being loaded again."""

from __future__ import annotations

import contextlib
import gzip
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from hpctune.analysis.cost.accounts import OWN_RECORDS
from hpctune.analysis.followed import FollowedExperiment
from hpctune.analysis.page.build import as_text, live_page
from hpctune.analysis.page.data import data_of
from hpctune.common.loopback import LoopbackHandler, LoopbackServer
from hpctune.common.throttle import Throttle
from hpctune.errors import TuneError

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass
class LiveExperiment:
    """The data of one experiment, read again when it has changed, and only what is new.

    ``metric`` and ``mode``: as for :func:`hpctune.analysis.page.build.page`.
    """

    root: Path
    metric: str | None = None
    mode: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _followed: FollowedExperiment = field(init=False)
    _known: tuple[str, bytes] | None = None
    _throttle: Throttle = field(default_factory=lambda: Throttle(0.0))

    def __post_init__(self) -> None:
        self._followed = FollowedExperiment(self.root)

    def read(self) -> tuple[str, bytes]:
        """A version, and the data as compressed JSON.

        Only the first call waits. Later ones return what is known, and have it read again if it is old. Raises
        TuneError if there is no experiment any more.
        """
        if self._known is None:
            with self._lock:
                return self._known or self._renew()
        if self._throttle.due(time.monotonic()) and self._version() != self._known[0] and self._lock.acquire(False):
            threading.Thread(target=self._renew_and_release, daemon=True).start()
        return self._known

    def _renew_and_release(self) -> None:
        try:
            with contextlib.suppress(TuneError):  # it is gone: what was known stays
                self._renew()
        finally:
            self._lock.release()

    def _renew(self) -> tuple[str, bytes]:
        with self._throttle.measured(time.monotonic()):
            version = self._version()
            text = as_text(data_of(self._followed.read(), self.metric, self.mode, OWN_RECORDS))
            self._known = version, gzip.compress(text.encode(), 5)
        return self._known

    def _version(self) -> str:
        """Changes with the experiment, and once more after a reading that finds other trials that are not over."""
        return f'"{self._followed.fingerprint()}"'


class PageServer:
    """Serves the page of ``experiments`` on this machine, until :meth:`close`.

    Args:
        experiments: What to show. The first one is shown first.
        port: 0: a free one is chosen.

    Raises:
        OSError: if the port is taken.
    """

    def __init__(self, experiments: Sequence[LiveExperiment], port: int = 0) -> None:
        self.experiments = list(experiments)
        self.http = _Http(port, self)
        self.port = self.http.server_port

    @property
    def address(self) -> str:
        """The address of the page, with its token."""
        return f"http://127.0.0.1:{self.port}/?token={self.http.token}"

    def serve(self) -> None:
        """Answer until another thread calls :meth:`close`, or an exception of a signal ends it."""
        try:
            self.http.serve_forever(0.1)
        finally:
            self.http.server_close()

    def close(self) -> None:
        """End :meth:`serve`, which another thread runs."""
        self.http.shutdown()


class _Http(LoopbackServer):
    def __init__(self, port: int, pages: PageServer) -> None:
        self.pages = pages
        super().__init__(port, _Handler, secrets.token_urlsafe(24))


class _Handler(LoopbackHandler):
    server: _Http

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        try:
            if address.path == "/":
                self._page(parse_qs(address.query).get("token", [""])[0])
            elif not self.permitted():
                self._send(401, b"the token is missing or wrong", "text/plain")
            else:
                self._data(address.path)
        except TuneError as error:
            self._send(410, str(error).encode(), "text/plain")

    def _page(self, token: str) -> None:
        if not self.permitted(token):
            self._send(401, b"Open the address that hpctune serve has printed: it has a token.", "text/plain")
            return
        known = [{"name": each.root.name, "path": str(each.root)} for each in self.server.pages.experiments]
        self._send(200, live_page(known).encode(), "text/html")

    def _data(self, path: str) -> None:
        number, experiments = path.removeprefix("/experiment/"), self.server.pages.experiments
        if not number.isdecimal() or int(number) >= len(experiments):
            self._send(404, b"there is no such page", "text/plain")
            return
        version, data = experiments[int(number)].read()
        if self.headers.get("If-None-Match") == version:
            self._send(304, b"", "application/json")
        else:
            self._send(200, data, "application/json", {"ETag": version, "Content-Encoding": "gzip"})

    def _send(self, code: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Type": f"{kind}; charset=utf-8", **_HEADERS, **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
