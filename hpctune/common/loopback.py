"""HTTP servers that listen on this machine only, and ask for a token."""

from __future__ import annotations

import hmac
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hpctune.errors import UsageError

ADDRESS = "127.0.0.1"


class LoopbackServer(ThreadingHTTPServer):
    """Serves on :data:`ADDRESS`. ``port`` 0: a free one is chosen, see ``server_port``."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, handler: type[LoopbackHandler], token: str) -> None:
        self.token = token
        super().__init__((ADDRESS, port), handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


class LoopbackHandler(BaseHTTPRequestHandler):
    """Knows whether a request is permitted, and prints nothing."""

    server: LoopbackServer
    timeout = 60

    def permitted(self, given: str | None = None) -> bool:
        """Whether the request has the token, or ``given`` is it, and :func:`may_ask` permits it."""
        if given is None:
            given = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        return may_ask(self.headers.get("Host", ""), given, self.server.token)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not told."""


def may_ask(host: str, given: str, token: str) -> bool:
    """Whether a request with the header ``Host: host`` and the token ``given`` is permitted.

    One whose Host is another name is refused, because a page of somebody else could have made it.
    """
    known = hmac.compare_digest(given.encode(), token.encode())
    return known and (host.rpartition(":")[0] or host) in ("localhost", ADDRESS)


def check_free(port: int, option: str) -> None:
    """Raise UsageError, which names ``option``, if the port is taken on this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise UsageError(f"{option}={port}: {error.strerror or error}. Choose another port.") from error
