"""Running a ``Command``: pass its output on, search it for results, and wait for its end or bring it about."""

from __future__ import annotations

import codecs
import collections
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TextIO

from hpctune.errors import TrainableError
from hpctune.model.records import REPORTED_NOTHING, Outcome
from hpctune.model.rows import flatten
from hpctune.storage import values
from hpctune.worker import srun, transferred
from hpctune.worker.command import FACTS, Command, moved_values, text_of
from hpctune.worker.end_of_run import EndOfRun
from hpctune.worker.printed import names_in
from hpctune.worker.project_copy import place_in
from hpctune.worker.session import Session

KILL_AFTER_S = 10.0
"""Seconds between SIGTERM and SIGKILL."""
SILENCE_S = 1.0
"""Seconds of silence after the program's end. Then processes that it left behind, and that hold its output open, are
killed."""
POLL_S = 0.1
LAST_LINES = 20
MAX_NAMES = 12
"""Names of printed values that are told of a program that reports nothing."""
MAX_LINE = 1 << 20
"""Characters of a line that are searched for results. A longer line has none."""
MAX_VARIABLE = 32_768
"""Bytes of a parameter in the environment, of the 128 kB that the system allows. Longer ones are only in the file."""
_MISSED_FILE = re.compile(r"No such file|not found|can.t open|cannot open|does not exist|ENOENT", re.IGNORECASE)
_NO_TRAVEL = (
    "Of your files, the project's code travels with a search: what git does not ignore, or the files that the command "
    "names. Bring others with --code PATH, or have them on that machine at the same absolute path."
)
_LINE_ENDS = re.compile(r"[\r\n]")


def run_command(command: Command, session: Session) -> None:
    """Run the program to its end. Raises TrainableError with its last lines of output if it fails."""
    session.leaves_itself = True
    place = place_in(session.paths)
    command, config = command.moved(place), moved_values(session.control.config, place)
    config_file = session.private_directory / "config.json"
    config_file.write_text(values.dumps(values.plain(config)))
    program = _Program(command, config, session, {"HPCTUNE_CONFIG": str(config_file), **_parameters(config)})
    try:
        code = program.wait()
    finally:
        program.signal(signal.SIGKILL)  # processes that it left behind, or all if this run ends at once
    if session.ending is not None:
        raise session.ending
    if program.failure is not None:
        raise program.failure
    if session.interrupted:
        session.end(Outcome.INTERRUPTED, f"{session.interrupted} received")
    if code != 0:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        words = "".join(program.last_words) or "(none)"
        raise TrainableError(f"The command {how}.{_where_hint(command, session, words)} Its last output:\n{words}")
    if not session.results and session.restored is None:
        session.end(Outcome.COMPLETED, f"{REPORTED_NOTHING}; {program.printed()}")


def _where_hint(command: Command, session: Session, words: str) -> str:
    """Where the program ran, if it seems to have missed a file."""
    if not _MISSED_FILE.search(words):
        return ""
    if transferred.has_copies():
        return f" It ran on {socket.gethostname()}. {_NO_TRAVEL}"
    if command.cwd is not None:
        return ""
    return (
        f" It ran in {session.paths.root}; files that it reads from where the search was started need their absolute "
        f"path, {{start_dir}}/NAME or Command(cwd=...)."
    )


def facts_of(session: Session) -> dict[str, Any]:
    """The values of the fields in a command's braces that are no parameters."""
    control = session.control
    found = (control.trial_id, control.trial_name, str(session.paths.root), str(session.restored or ""))
    return dict(zip(FACTS, found, strict=True))


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    named = ((name, text_of(value)) for name, value in flatten(config).items())
    return {
        f"HPCTUNE_PARAM_{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}": text
        for name, text in named
        if len(text) < MAX_VARIABLE and "\0" not in text
    }


def _search_path(session: Session) -> str:
    """The program's search path. It contains ``hpctune``, even if the worker's environment is not activated, and first
    what stands for ``srun`` if this is no job of Slurm."""
    known = os.environ.get("PATH", os.defpath)
    first, last = srun.directory_of_stand_in(session.private_directory), str(Path(sys.executable).parent)
    more = [] if last in known.split(os.pathsep) else [last]
    return os.pathsep.join([*([first] if first else []), known, *more])


class _Program:
    """A started program."""

    def __init__(
        self, command: Command, config: Mapping[str, Any], session: Session, environment: Mapping[str, str]
    ) -> None:
        self._command, self._session = command, session
        self.last_words: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self.failure: Exception | None = None
        self._names: dict[str, None] = {}
        self._silent = True
        arguments, variables = command.program(config, facts_of(session))
        own = {name: str(value) for name, value in command.env.items()}
        where = command.search_path(os.environ.get("PYTHONPATH"))
        directory = command.working_directory
        if directory is not None and not os.path.isdir(directory):
            more = f" {_NO_TRAVEL}" if transferred.has_copies() else ""
            raise TrainableError(
                f"The command {arguments[:3]} cannot be started: the directory in which it is to run, {directory}, is "
                f"not on {socket.gethostname()}.{more}"
            )
        try:
            self.process = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PATH": _search_path(session), **where, **environment, **variables, **own},
                cwd=directory,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise TrainableError(f"The command {arguments[:3]} cannot be started: {error}.") from error
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            _Reader(self.process.stdout, "stdout", self._take),
            _Reader(self.process.stderr, "stderr", self._take_error),
        ]
        self._over = threading.Event()
        threading.Thread(target=self._await_process, name="hpctune-command", daemon=True).start()

    def _await_process(self) -> None:
        self.process.wait()
        self._over.set()

    def _take(self, line: str) -> None:
        """Report what a line of output says."""
        try:
            row = self._command.results_in(line)
            self._silent = False
            if row:
                self._session.report(row)
            elif not self._session.results and len(self._names) < MAX_NAMES:
                self._names.update(dict.fromkeys(names_in(line)))
        except EndOfRun:
            pass  # the session holds the outcome; the main thread ends the program
        except Exception as error:
            self.failure = self.failure or error

    def _take_error(self, line: str) -> None:
        """The same for stderr, where logging and progress bars write; its last lines explain a failure."""
        self.last_words.append(f"{line}\n")
        self._take(line)

    def printed(self) -> str:
        """What it has printed instead of results, in words."""
        if self._names:
            return f"its output has values of {', '.join(list(self._names)[:MAX_NAMES])}"
        return "it printed nothing" if self._silent else "its output has no values such as 'name=0.9'"

    def signal(self, number: int) -> None:
        """Send a signal to the program and all processes that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def wait(self) -> int:
        """Wait for its end; end it if the run is over. Returns the exit code."""
        killed_at = None
        forwarded = ""
        while not self._over.wait(POLL_S):
            now = time.monotonic()
            if self._session.interrupted != forwarded:
                forwarded = self._session.interrupted
                self.signal(getattr(signal, forwarded, signal.SIGTERM))
            if killed_at is None and (self._session.ending is not None or self.failure is not None):
                killed_at = now
                self._session.acknowledge()
                self.signal(signal.SIGTERM)
            elif killed_at is not None and now - killed_at > KILL_AFTER_S:
                self.signal(signal.SIGKILL)
            self._session.look_now_and_then()
        self._drain()
        return self.process.returncode

    def _drain(self) -> None:
        """Read all that was printed, even if each report has to wait. Do not wait for background processes of the
        program that hold its output open."""
        while any(reader.is_alive() for reader in self._readers):
            if all(reader.silent_s() > SILENCE_S for reader in self._readers):
                return
            for reader in self._readers:
                reader.join(POLL_S)


class _Reader(threading.Thread):
    """Copies output as it arrives, and passes each line to ``take``."""

    def __init__(self, source: IO[bytes], target: str, take: Callable[[str], object]) -> None:
        super().__init__(name=f"hpctune-{target}", daemon=True)
        self._source, self._target, self._take = source, target, take
        self.waits_since: float | None = None
        """Monotonic time of the last output; None while a line is being processed."""
        self.start()

    def silent_s(self) -> float:
        """Seconds without output; infinite after the end of the output."""
        since = self.waits_since
        return float("inf") if not self.is_alive() else 0.0 if since is None else time.monotonic() - since

    def run(self) -> None:
        with self._source:
            for line in self._lines():
                self._take(line)

    def _lines(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest, skipping, chunk = "", False, b"-"
        while chunk:
            chunk = self._read()
            text = decoder.decode(chunk, final=not chunk)
            self._show(text)
            *lines, rest = _LINE_ENDS.split(rest + text)
            if skipping and lines:
                lines, skipping = lines[1:], False
            yield from (line for line in lines if line)
            if len(rest) > MAX_LINE:
                rest, skipping = "", True
        if rest and not skipping:
            yield rest

    def _read(self) -> bytes:
        self.waits_since = time.monotonic()
        try:
            return os.read(self._source.fileno(), 65_536)
        except OSError:
            return b""
        finally:
            self.waits_since = None

    def _show(self, text: str) -> None:
        target: TextIO | None = getattr(sys, self._target)
        with contextlib.suppress(OSError, ValueError, AttributeError):  # user code may have closed it
            if target is not None and text:
                target.write(text)
                target.flush()
