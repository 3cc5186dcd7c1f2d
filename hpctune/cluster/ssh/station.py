"""One workstation: the connection to it, made again when it broke, and what the agent there is asked."""

from __future__ import annotations

import itertools
import json
import queue
import shlex
import sys
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from hpctune.cluster.local.allocation import MachineResources
from hpctune.cluster.ssh.options import SshOptions, Workstation
from hpctune.common.backoff import Backoff
from hpctune.common.log import log
from hpctune.errors import ClusterUnavailableError, RemoteClusterError, TuneError, UsageError
from hpctune.file_transfer.options import split
from hpctune.ssh import ssh_config
from hpctune.ssh.any_shell import for_any_shell
from hpctune.ssh.authentication import refusing_to_ask
from hpctune.ssh.connection import Connection, Traffic
from hpctune.ssh.streams import Stream, Streams
from hpctune.version import VERSION

_AGENT = "hpctune.cluster.ssh.agent"
_NOT_SET_UP = 95
"""Exit code: a line of ``setup`` failed."""
_KEPT = 4000
"""Bytes of what the agent writes on stderr that are kept for a message."""
_FIRST_PAUSE_S, _MAX_PAUSE_S = 1.0, 60.0
_DRIVER = uuid.uuid4().hex
"""What tells this process from other drivers."""
_NEVER_ASK = refusing_to_ask(
    "the driver makes connections again at any time, with nobody to answer. Load a key into the agent (ssh-add), or "
    "name one without a passphrase with IdentityFile in ~/.ssh/config."
)


class Station:
    """A workstation, from :meth:`start` to :meth:`close`.

    ``root`` is the experiment's directory here, which its jobs get served; ``also`` returns files elsewhere that they
    may write.
    """

    def __init__(
        self,
        workstation: Workstation,
        options: SshOptions,
        experiment_id: str,
        root: Path,
        also: Callable[[], Collection[str]],
    ) -> None:
        self.name = workstation.host
        self.slots: MachineResources | None = None
        """What it offers, once it was reached."""
        self.trouble = ""
        """Why it cannot be reached now; "" while it can, or before the first try has ended."""
        self.down_since: float | None = time.monotonic()
        """When the connection was lost (monotonic seconds); None while there is one."""
        self.facts: Mapping[str, Any] = {}
        """What the agent said of the machine."""
        self.wrong = False
        """Whether another try cannot help: a key, a host key, an interpreter."""
        self.machine, self._options, self._experiment_id = workstation, options, experiment_id
        self._root, self._also = root, also
        self._host = ssh_config.lookup(*split(workstation.host))
        self._traffic = Traffic()
        self._numbers = itertools.count(1)
        self._asked: dict[int, Future[Any]] = {}
        self._changing = threading.Lock()
        self._streams: Streams | None = None
        self._connection: Connection | None = None
        self._closed, self._tried = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep_connected, name=f"hpctune-{self.name}", daemon=True)

    def start(self) -> None:
        """Connect, in a thread of its own."""
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until the first try has ended, well or not. Returns whether it has."""
        return self._tried.wait(seconds)

    @property
    def up(self) -> bool:
        """Whether it can be asked now."""
        return self.down_since is None

    def close(self) -> None:
        """End the connection. Jobs go on."""
        self._closed.set()
        connection = self._connection
        if connection is not None:
            connection.close()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def ask(self, call: str, **values: Any) -> Future[Any]:
        """Ask the agent. The answer raises ClusterUnavailableError if there is none, TuneError if it says why not."""
        with self._changing:
            streams = self._streams
            number, answer = next(self._numbers), Future[Any]()
            if streams is None:
                answer.set_exception(self._unavailable())
                return answer
            self._asked[number] = answer
        streams.tell(json.dumps({"number": number, "call": call} | values).encode())
        return answer

    def _unavailable(self) -> ClusterUnavailableError:
        return ClusterUnavailableError(f"{self.name} cannot be reached: {self.trouble or 'not connected yet'}")

    # -- the connection, in its thread ----------------------------------------------------------------------------

    def _keep_connected(self) -> None:
        pauses = Backoff(_FIRST_PAUSE_S, _MAX_PAUSE_S)
        while not self._closed.is_set():
            try:
                self._talk()
            except (TuneError, OSError, EOFError) as error:
                if self.up:
                    pauses.reset()
                self._lost(error)
            self._closed.wait(pauses.take())

    def _talk(self) -> None:
        """Connect and serve until the connection ends; that raises."""
        said = bytearray()
        blocks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        streams = Streams(blocks.put, self._serve, self._heard, greeted=False)
        first: Future[Any] = Future()
        first.add_done_callback(lambda answer: self._begun(answer, streams))
        self._connection = connection = Connection(self._host, self._traffic, _NEVER_ASK)
        with self._changing:
            number = next(self._numbers)
            self._asked[number] = first
        streams.tell(json.dumps({"number": number} | self._settings()).encode())
        try:
            code = connection.run(
                self._command(), iter(blocks.get, None), streams.feed, lambda data: said.extend(data[-_KEPT:])
            )
        finally:
            blocks.put(None)
            streams.end()
            connection.close()
        raise RemoteClusterError(self._why(code, said[-_KEPT:].decode(errors="replace").strip()))

    def _settings(self) -> dict[str, Any]:
        one, options = self.machine, self._options
        local = {"cpus": one.cpus, "gpus": one.gpus, "env": dict(options.env), "kill_wait_s": options.kill_wait_s}
        return {
            "experiment_id": self._experiment_id,
            "driver": _DRIVER,
            "name": self.name,
            "directory": one.directory,
            "options": {name: value for name, value in local.items() if value is not None},
            "poll_s": options.poll_s,
            "patience_s": options.patience_s,
        }

    def _command(self) -> str:
        """What runs the agent: a login shell that runs the lines of ``setup``. What they print is no answer, and they
        cannot read what is meant for the agent. The user's shell, which may be fish or tcsh, only has to start sh."""
        agent = f"-u -m {_AGENT} <&3 3<&-"
        own, python = shlex.quote(sys.executable), self.machine.python
        start = (
            f"[ -x {own} ] && exec {own} {agent}\nexec python3 {agent}" if python is None else f"exec {python} {agent}"
        )
        ready = "".join(f" && {{ {line}\n}}" for line in self._options.setup)
        inside = f"cd; {{ true{ready}; }} >&2 || exit {_NOT_SET_UP}\n{start}"
        outside = f"exec 3<&0 </dev/null; exec bash -lc {shlex.quote(inside)}"
        return f"exec sh -c {for_any_shell(outside)}"

    def _why(self, code: int, said: str) -> str:
        """Why the agent has ended or never ran."""
        last = said.splitlines()[-1] if said else "it said nothing"
        if not self._closed.is_set() and not self._tried.is_set():
            self.wrong = True
        python = self.machine.python or "python3"
        if code == _NOT_SET_UP:
            return f"A line of setup failed there: {last}"
        if "No module named 'hpctune'" in said or "No module named hpctune" in said:
            return (
                f"{python} there has no hpctune. Name the interpreter that has it: SshOptions(python=...), --python. "
                "Or let an environment be made there: --make-env."
            )
        if code in (126, 127):
            return f"There is no {python}: {last}. Name an interpreter: SshOptions(python=...), --python."
        return f"hpctune's agent there ended with exit code {code}: {last}"

    def _begun(self, answer: Future[Any], streams: Streams) -> None:
        """The agent has said what the machine is, or why it cannot begin."""
        error = answer.exception()
        facts = {} if error is not None else answer.result()
        if error is None and (wrong := _unsuitable(facts)):
            error = UsageError(wrong)
        if error is not None:
            self.trouble, self.wrong = str(error), True
            self._tried.set()
            if self._connection is not None:
                self._connection.close()
            return
        again = self._tried.is_set()
        self.facts = facts
        self.slots = MachineResources(facts["cpus"], tuple(facts["gpus"]))
        with self._changing:
            self._streams = streams
            self.trouble, self.down_since, self.wrong = "", None, False
        self._tried.set()
        if again:
            log.warning(f"{self.name} is connected again.")

    def _lost(self, error: BaseException) -> None:
        with self._changing:
            was_up, self._streams = self._streams is not None, None
            asked, self._asked = self._asked, {}
            if not (self.wrong and self.trouble):
                self.trouble = str(error).rstrip(".")
            if was_up:
                self.down_since = time.monotonic()
        for answer in asked.values():
            if not answer.done():
                answer.set_exception(self._unavailable())
        if not self._closed.is_set() and was_up:
            log.warning(f"{self.name} cannot be reached: {self.trouble}. Its trials go on, and what they save is kept.")
        self._tried.set()

    def _heard(self, message: bytes) -> None:
        data = json.loads(message)
        with self._changing:
            answer = self._asked.pop(data["number"], None)
        if answer is None:
            return
        if "error" in data:
            answer.set_exception(RemoteClusterError(data["error"]))
        else:
            answer.set_result(data["answer"])

    def _serve(self, stream: Stream) -> None:
        """A job's connection."""
        from hpctune.file_transfer.served import serve

        serve(stream, self._root, self._also)


def _unsuitable(facts: Mapping[str, Any]) -> str:
    """Why jobs cannot run by the interpreter there; "" if they can."""
    if facts["version"] != VERSION:
        return f"It has hpctune {facts['version']}, and this is {VERSION}. Install the same version in both places."
    here = list(sys.version_info[:2])
    if facts["python"] != here:
        return (
            f"{facts['interpreter']} there is Python {'.'.join(map(str, facts['python']))}, and this is "
            f"{'.'.join(map(str, here))}: your functions travel only between equal ones. Name another interpreter: "
            "SshOptions(python=...), --python."
        )
    return ""
