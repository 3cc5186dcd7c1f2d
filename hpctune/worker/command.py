"""``Command``: a trainable that is a program, in any language."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import shlex
import signal
import string
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from hpctune.errors import TrainableError
from hpctune.model.records import Outcome
from hpctune.model.rows import flatten
from hpctune.storage import values
from hpctune.worker.endings import EndOfRun
from hpctune.worker.session import Session

KILL_AFTER_S = 10.0
"""Seconds between SIGTERM and SIGKILL."""
POLL_S = 0.1
LAST_LINES = 20
_PRINTED = re.compile(r"^\s*(?:hpctune|RESULT)\s*:\s*(.+?)\s*$")
_ASSIGNMENT = re.compile(r"([A-Za-z_][\w./-]*)\s*=\s*(\S+?)(?=[,;\s]|$)")

Parse = Callable[[str], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program for each trial: ``Command("python train.py --lr {lr}")``, or a list of arguments.

    Fields in braces are parameters (``{lr}``, ``{model/depth}``), ``{trial_id}``, ``{trial_name}``, ``{trial_dir}`` or
    ``{checkpoint}`` (empty for a fresh start); in a string they are quoted for the shell; ``{{`` is a brace. The whole
    configuration is in the file named by ``HPCTUNE_CONFIG`` (JSON) and, one variable each, in ``HPCTUNE_PARAM_LR``.

    The program reports by printing a line ``hpctune: loss=0.3 step=5`` (or ``RESULT: loss=0.3``, or JSON after the
    colon), by calling ``hpctune report loss=0.3``, or from Python by ``hpctune.report(loss=0.3)``. ``parse`` reads
    other output: a function from a line to a dict (or None), or a regular expression with named groups.

    ``env`` is added to the program's environment; ``cwd`` is where it runs (default: the trial's directory).
    """

    command: str | Sequence[str]
    parse: str | Parse | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    __name__: str = "command"

    def __post_init__(self) -> None:
        if not self.command or not isinstance(self.command, (str, list, tuple)):
            raise TrainableError(f"Command needs a command line, as a string or a list, not {self.command!r}.")
        if isinstance(self.parse, str):
            pattern = re.compile(self.parse)
            if not pattern.groupindex:
                raise TrainableError(f"parse={self.parse!r} has no named group, such as (?P<loss>[0-9.]+).")
        words = shlex.split(self.command) if isinstance(self.command, str) else [str(w) for w in self.command]
        program = next((Path(w).name for w in words if "{" not in w), "command")
        object.__setattr__(self, "__name__", re.sub(r"\W+", "_", program) or "command")

    def arguments(self, fields: Mapping[str, Any]) -> list[str]:
        """The program's argument list, the shell's for a string. Raises TrainableError for an unknown field."""
        if isinstance(self.command, str):
            return ["/bin/sh", "-c", _fill(self.command, fields, quote=True)]
        return [_fill(str(word), fields, quote=False) for word in self.command]

    def results_in(self, line: str) -> Mapping[str, Any] | None:
        """The result that a line of output reports, or None."""
        if self.parse is None:
            return printed_result(line)
        if isinstance(self.parse, str):
            found = re.search(self.parse, line)
            return {k: _value(v) for k, v in found.groupdict().items() if v is not None} if found else None
        return self.parse(line)


class _Fields(string.Formatter):
    def __init__(self, fields: Mapping[str, Any], quote: bool) -> None:
        self._fields, self._quote = fields, quote

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[Any, str]:
        name = field_name.removeprefix("config.").replace(".", "/") if field_name not in self._fields else field_name
        if name not in self._fields:
            raise TrainableError(
                f"The command names {{{field_name}}}, which is no parameter. Known are: "
                f"{', '.join(sorted(self._fields))}. A brace that is meant literally is written twice."
            )
        return self._fields[name], field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        text = format(value, format_spec) if format_spec else _text(value)
        return shlex.quote(text) if self._quote else text


def _fill(template: str, fields: Mapping[str, Any], *, quote: bool) -> str:
    try:
        return _Fields(fields, quote).format(template)
    except ValueError as error:
        raise TrainableError(
            f"The command {template!r} cannot be filled in: {error}. Double braces meant literally."
        ) from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else values.dumps(value) if isinstance(value, (dict, list)) else str(value)


def printed_result(line: str) -> Mapping[str, Any] | None:
    """The result in ``hpctune: loss=0.3 step=5``, ``RESULT: loss=0.3`` or ``hpctune: {"loss": 0.3}``; else None."""
    found = _PRINTED.match(line)
    if found is None:
        return None
    text = found.group(1)
    if text.startswith("{"):
        try:
            data = json.loads(text)
        except ValueError:
            return None
        return data if isinstance(data, dict) else None
    return {key: _value(value) for key, value in _ASSIGNMENT.findall(text)} or None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def fields_of(session: Session) -> dict[str, Any]:
    """What a command's braces may name."""
    control = session.control
    return {
        **flatten(control.config),
        "trial_id": control.trial_id,
        "trial_name": control.trial_name,
        "trial_dir": str(session.paths.root),
        "checkpoint": str(session.restored or ""),
    }


class _Program:
    """A started program: its output passed on and searched for results, its end awaited."""

    def __init__(self, command: Command, session: Session, environment: Mapping[str, str]) -> None:
        self._command, self._session = command, session
        self.last_words: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self.failure: Exception | None = None
        self.process = subprocess.Popen(
            command.arguments(fields_of(session)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=command.cwd,
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._pass_on, args=(self.process.stdout, sys.stdout, True), daemon=True),
            threading.Thread(target=self._pass_on, args=(self.process.stderr, sys.stderr, False), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _pass_on(self, source: IO[bytes], target: IO[str], results: bool) -> None:
        for raw in source:
            line = raw.decode(errors="replace")
            target.write(line)
            target.flush()
            if not results:
                self.last_words.append(line)
                continue
            try:
                row = self._command.results_in(line)
                if row:
                    self._session.report(row)
            except EndOfRun:
                pass  # the session remembers; the main thread ends the program
            except Exception as error:
                self.failure = self.failure or error

    def signal(self, number: int) -> None:
        """Send a signal to the program and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def wait(self) -> int:
        """Wait for its end; end it when the run is over. Returns the exit code."""
        killed_at = None
        forwarded = ""
        while self.process.poll() is None:
            now = time.monotonic()
            if self._session.interrupted != forwarded:
                forwarded = self._session.interrupted
                self.signal(getattr(signal, forwarded, signal.SIGTERM))
            if killed_at is None and (self._session.ending is not None or self.failure is not None):
                killed_at = now
                self.signal(signal.SIGTERM)
            elif killed_at is not None and now - killed_at > KILL_AFTER_S:
                self.signal(signal.SIGKILL)
            try:
                self.process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                self._session.look_now_and_then()
        for reader in self._readers:
            reader.join(timeout=KILL_AFTER_S)  # a grandchild may hold the pipe
        return self.process.returncode


def run_command(command: Command, session: Session) -> None:
    """Run the program to its end. Raises TrainableError, with its last words, when it fails."""
    config_file = session.private_directory / "config.json"
    config_file.write_text(values.dumps(values.plain(session.control.config)))
    environment = {"HPCTUNE_CONFIG": str(config_file), **_identity(session), **command.env}
    for name, value in flatten(session.control.config).items():
        environment[f"HPCTUNE_PARAM_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}"] = _text(value)
    program = _Program(command, session, environment)
    code = program.wait()
    program.signal(signal.SIGKILL)  # what it left behind
    if session.ending is not None:
        raise session.ending
    if program.failure is not None:
        raise program.failure
    if session.interrupted:
        session.end(Outcome.INTERRUPTED, f"{session.interrupted} received")
    if code != 0:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise TrainableError(f"The command {how}. Its last words:\n{''.join(program.last_words) or '(none)'}")


def _identity(session: Session) -> dict[str, str]:
    control = session.control
    return {
        "HPCTUNE_TRIAL_ID": control.trial_id,
        "HPCTUNE_TRIAL_NAME": control.trial_name,
        "HPCTUNE_TRIAL_DIR": str(session.paths.root),
    }
