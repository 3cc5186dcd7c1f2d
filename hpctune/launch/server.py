"""The HTTP server of a driver: trials as JSON, and commands that go through the experiment's inbox.

It listens on this machine only, and every request needs the token that stands in a file of this user. The paths and
the JSON are those of Ray Tune's client API.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hpctune.common.checks import DEFAULT_PORT, check_port
from hpctune.common.log import log
from hpctune.common.loopback import ADDRESS, LoopbackHandler, LoopbackServer, check_free
from hpctune.driver.engine import Driver
from hpctune.driver.setup import DriverSetup
from hpctune.errors import TuneError, UsageError
from hpctune.launch.additions import new_configs
from hpctune.model import trial as model
from hpctune.storage import inbox
from hpctune.storage.values import as_json
from hpctune.trial import Trial

MAX_BODY = 1 << 20
"""Bytes of a request's body at most."""
ADD_WAIT_S = 30.0
"""Seconds to wait until the driver has executed a command."""


@dataclass(frozen=True, slots=True)
class Served:
    """An experiment that a server shows."""

    driver: Driver
    setup: DriverSetup


class NoSuchTrial(TuneError):
    """No trial has this id."""


class TuneServer:
    """Serves the experiments of a driver until :meth:`shutdown`.

    Args:
        runner: The experiments, as the driver makes them. Ray Tune's argument of this name is its trial runner.
        port: The port on this machine; 4321 by default.

    Raises:
        UsageError: if the port is taken.
    """

    DEFAULT_PORT = DEFAULT_PORT

    def __init__(self, runner: Sequence[Served], port: int | None = None) -> None:
        self.port = check_port(DEFAULT_PORT if port is None else port)
        self._served = list(runner)
        self.token = secrets.token_urlsafe(24)
        check_free(self.port, "server_port")
        self._http = _Http(self)
        self.token_file = token_file(socket.gethostname(), self.port)
        _write_secret(self.token_file, self.token)
        threading.Thread(target=self._http.serve_forever, name="hpctune-server", daemon=True).start()
        log.info(f"Client API: http://{ADDRESS}:{self.port} (token in {self.token_file})")

    def shutdown(self) -> None:
        """End the server and remove its token."""
        self._http.shutdown()
        self._http.server_close()
        with contextlib.suppress(OSError):
            self.token_file.unlink()

    # -- what a client can ask ----------------------------------------------------------------------------------

    def trials(self) -> dict[str, Any]:
        """All trials."""
        return {"trials": [_info(trial, served) for served in self._served for trial in _trials(served)]}

    def trial(self, name: str) -> dict[str, Any]:
        """One trial."""
        served, trial = self._find(name)
        return {"trial": _info(trial, served)}

    def stop_trial(self, name: str) -> dict[str, Any]:
        """Post a command that stops a trial. The trial is as it was before."""
        served, trial = self._find(name)
        if not trial.phase.final:
            inbox.post(served.driver.paths, inbox.STOP, [trial.trial_id])
        return {"trial": _info(trial, served)}

    def stop_experiment(self) -> dict[str, Any]:
        """Post commands that stop everything."""
        for served in self._served:
            inbox.post(served.driver.paths, inbox.STOP)
        return {}

    def add_trial(self, name: str, specification: Mapping[str, Any]) -> dict[str, Any]:
        """Post a command that adds trials, and wait for them. Returns those that there are then.

        ``name``: the experiment, if the driver has several. ``specification``: its ``config`` and ``num_samples``.
        """
        served = next((one for one in self._served if one.driver.spec.name == name), self._served[0])
        unknown = set(specification) - {"run", "config", "num_samples", "stop", "resources_per_trial"}
        if unknown:
            raise UsageError(f"The specification of a new trial has no {sorted(unknown)[0]!r}. It has config.")
        config = specification.get("config", {})
        if not isinstance(config, Mapping):
            raise UsageError(f"config must be a dict, not {config!r}.")
        for fixed in ("stop", "resources_per_trial"):
            if specification.get(fixed):
                raise UsageError(f"New trials have the {fixed} of the experiment. Leave it out.")
        driver = served.driver
        configs = new_configs(
            served.setup,
            driver.state,
            config,
            seed=secrets.randbelow(2**31),
            num_samples=specification.get("num_samples", 1),
        )
        command = inbox.post(driver.paths, inbox.ADD, trials=configs)
        until = time.monotonic() + ADD_WAIT_S
        while command.command_id not in driver.state.commands and time.monotonic() < until:
            time.sleep(0.05)
        added = [t for t, by in list(driver.state.added.items()) if by == command.command_id]
        return {"trials": [_info(driver.state.trials[trial_id], served) for trial_id in added]}

    def _find(self, name: str) -> tuple[Served, model.Trial]:
        for served in self._served:
            if (trial := served.driver.state.trials.get(name)) is not None:
                return served, trial
        raise NoSuchTrial(f"There is no trial {name!r}.")


def _trials(served: Served) -> list[model.Trial]:
    return list(served.driver.state.trials.values())


def _info(trial: model.Trial, served: Served) -> dict[str, Any]:
    view = Trial(trial, served.driver.paths, served.driver.spec)
    return {
        "id": trial.trial_id,
        "trainable_name": served.driver.spec.trainable,
        "config": trial.shown_config,
        "status": view.status,
        "result": dict(trial.last) or None,
    }


class _Http(LoopbackServer):
    def __init__(self, tune: TuneServer) -> None:
        self.tune = tune
        super().__init__(tune.port, _Handler, tune.token)


class _Handler(LoopbackHandler):
    server: _Http

    def do_GET(self) -> None:
        self._answer(lambda tune, path, _: tune.trials() if len(path) == 1 else tune.trial(path[1]))

    def do_PUT(self) -> None:
        def put(tune: TuneServer, path: Sequence[str], _: Any) -> dict[str, Any]:
            return tune.stop_experiment() if path[0] == "stop_experiment" else tune.stop_trial(path[1])

        self._answer(put)

    def do_POST(self) -> None:
        self._answer(lambda tune, _, body: tune.add_trial(body.get("name", ""), body.get("spec", {})))

    def _answer(self, act: Callable[[TuneServer, list[str], Any], dict[str, Any]]) -> None:
        path = [unquote(part) for part in urlsplit(self.path).path.split("/") if part]
        valid = {"GET": path[:1] == ["trials"] and len(path) <= 2, "POST": path == ["trials"]}
        valid["PUT"] = path == ["stop_experiment"] or (path[:1] == ["trials"] and len(path) == 2)
        try:
            body = self._body()
            if not self.permitted():
                self._send(401, {"error": "The token is missing or wrong."})
            elif not valid[self.command]:
                self._send(404, {"error": f"There is no {self.command} {self.path}."})
            else:
                self._send(200, act(self.server.tune, path, body))
        except NoSuchTrial as error:
            self._send(404, {"error": str(error)})
        except (TuneError, ValueError) as error:
            self._send(400, {"error": str(error)})

    def _body(self) -> Any:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            raise UsageError(f"The request is longer than {MAX_BODY} bytes.")
        if not length:
            return {}
        body = json.loads(self.rfile.read(length))
        if not isinstance(body, dict) or not isinstance(body.get("spec", {}), dict):
            raise UsageError("The request's body must be a JSON object: a name, and a spec with a config.")
        return body

    def _send(self, code: int, data: Mapping[str, Any]) -> None:
        payload = as_json(data, indent=None).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def token_file(host: str, port: int) -> Path:
    """Where the token of the server on this host and port stands."""
    return _directory() / f"{host}-{port}.token"


def tokens(port: int) -> Iterator[str]:
    """The tokens of this user's servers with this port: of this machine first, then of others, the newest first.

    A port of another machine may be forwarded to this one, and the home directory may be common.
    """
    own = token_file(socket.gethostname(), port)
    others = sorted(_directory().glob(f"*-{port}.token"), key=lambda path: -path.stat().st_mtime)
    for path in dict.fromkeys([own, *others]):
        with contextlib.suppress(OSError):
            yield path.read_text().strip()


def _directory() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "hpctune" / "servers"


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in place of an earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    draft.replace(path)
