"""The client API: look at the trials of a running experiment, stop and add some, from another process.

``tune.run(..., server_port=4321)`` starts the server in the driver. It listens on the driver's machine only. From
another machine: ``ssh -L 4321:localhost:4321 HOST``.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from hpctune.common.checks import DEFAULT_PORT
from hpctune.errors import TuneError
from hpctune.launch.server import TuneServer, tokens

__all__ = ["TuneClient", "TuneServer"]

TOKEN = "HPCTUNE_SERVER_TOKEN"


class TuneClient:
    """Asks the server of a running experiment.

    Args:
        tune_address: The host, "localhost" by default; "host:port" is possible.
        port_forward: The port, 4321 by default.
        token: The server's token. By default that of the environment variable HPCTUNE_SERVER_TOKEN, else the file
            that the server has written.

    Every method takes ``timeout`` in seconds, and raises TuneError with the server's message if it refuses, or if there
    is no server.
    """

    def __init__(
        self, tune_address: str = "localhost", port_forward: int | None = None, token: str | None = None
    ) -> None:
        host, _, port = tune_address.removeprefix("http://").strip("/").partition(":")
        self._port = port_forward if port_forward is not None else int(port) if port else DEFAULT_PORT
        self._path = f"http://{host or 'localhost'}:{self._port}"
        self._token = token if token is not None else os.environ.get(TOKEN)

    def get_all_trials(self, timeout: float | None = None) -> dict[str, Any]:
        """``{"trials": [{"id", "trainable_name", "config", "status", "result"}, ...]}``."""
        return self._ask("GET", "/trials", timeout)

    def get_trial(self, trial_id: str, timeout: float | None = None) -> dict[str, Any]:
        """``{"trial": {...}}``."""
        return self._ask("GET", f"/trials/{quote(trial_id, safe='')}", timeout)

    def add_trial(self, name: str, specification: Mapping[str, Any]) -> dict[str, Any]:
        """Add trials with ``specification["config"]``; what it does not set comes from the search space.

        ``name``: the experiment, if the driver has several. Returns ``{"trials": [...]}``, the new ones.
        """
        return self._ask("POST", "/trials", None, {"name": name, "spec": dict(specification)})

    def stop_trial(self, trial_id: str) -> dict[str, Any]:
        """Stop a trial at its next report. Returns ``{"trial": {...}}``, the trial before that."""
        return self._ask("PUT", f"/trials/{quote(trial_id, safe='')}", None)

    def stop_experiment(self) -> dict[str, Any]:
        """Stop all trials, and so the experiment."""
        return self._ask("PUT", "/stop_experiment", None)

    @property
    def server_address(self) -> str:
        """The server's address, as ``http://host:port``."""
        return self._path

    def _ask(
        self, method: str, path: str, timeout: float | None, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        known = [self._token] if self._token else [*tokens(self._port)] or [""]
        for token in known[:-1]:
            answer = self._request(method, path, timeout, body, token, last=False)
            if answer is not None:
                return answer
        answer = self._request(method, path, timeout, body, known[-1], last=True)
        assert answer is not None
        return answer

    def _request(
        self, method: str, path: str, timeout: float | None, body: Mapping[str, Any] | None, token: str, last: bool
    ) -> dict[str, Any] | None:
        """The answer; None if the token is wrong and another one may be right."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._path + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy to this machine
        try:
            with opener.open(request, timeout=60 if timeout is None else timeout) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 401 and not last:
                return None
            try:
                message = json.load(error)["error"]
            except (ValueError, KeyError, TypeError):
                message = str(error)
            raise TuneError(f"{self._path}: {message}") from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise TuneError(
                f"No server answers at {self._path} ({reason}). tune.run(..., server_port={self._port}) starts one."
            ) from None
        if not isinstance(answer, dict):
            raise TuneError(f"{self._path} is not a server of hpctune.")
        return answer
