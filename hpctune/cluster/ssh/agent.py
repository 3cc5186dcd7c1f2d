"""``python -m hpctune.cluster.ssh.agent``: the driver's hand on a workstation, for as long as the connection lasts.

It starts the jobs, looks after them and ends them as :class:`LocalCluster` does, and passes on what jobs and the driver
say to each other: the jobs connect to a socket in the agent's directory, behind which the driver serves the
experiment's files. When the connection ends the agent ends, once the jobs that were cancelled are over. The others go
on, and the next agent finds them.

The first message is a dict: ``experiment_id``, ``driver`` (a text that another driver does not have), ``name`` (that of
this machine there), ``directory`` (None: that for temporary files), ``options`` (of LocalOptions), ``poll_s``,
``patience_s``. Each further one has a ``call`` and its arguments, and is answered under its ``number``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpctune.cluster.local import machine
from hpctune.cluster.local.cluster import LocalCluster
from hpctune.cluster.options import LocalOptions
from hpctune.common.log import show_messages
from hpctune.errors import StorageError, TuneError
from hpctune.file_transfer import ends
from hpctune.file_transfer.socket_connection import PREFIX, short_address
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, Refused
from hpctune.model.resources import Resources
from hpctune.ssh.streams import LARGEST, Stream, Streams
from hpctune.version import VERSION

WORKER = ("-u", "-m", "hpctune.worker")
_ENDING_POLL_S = 0.5


class Agent:
    """It answers through ``streams``."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._cluster: LocalCluster | None = None
        self._base = Path()
        self._settings: Mapping[str, Any] = {}
        self._listening: socket.socket | None = None

    def heard(self, message: bytes) -> None:
        """Do what the driver asks, and answer."""
        asked = json.loads(message)
        try:
            answer = {"answer": self._do(asked)}
        except (TuneError, OSError) as error:
            answer = {"error": str(error)}
        self._streams.tell(json.dumps({"number": asked["number"]} | answer).encode())

    def _do(self, asked: Mapping[str, Any]) -> Any:
        cluster = self._cluster
        if cluster is None:
            return self._begin(asked)
        match asked["call"]:
            case "submit":
                return [self._submit(cluster, request) for request in asked["requests"]]
            case "jobs":
                return self._jobs(cluster)
            case "cancel":
                return cluster.cancel(asked["jobs"])
            case "tidy":
                return cluster.tidy(asked["jobs"])
        raise TuneError(f"This version of hpctune ({VERSION}) does not know {asked['call']!r}.")

    def _begin(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        self._settings = settings
        directory = Path(os.path.expandvars(settings["directory"] or tempfile.gettempdir())).expanduser()
        self._base = directory / f"hpctune-{settings['experiment_id']}-{socket.gethostname()}"  # it may be NFS
        _make_private(self._base)
        _replace_earlier_agent(self._base, settings["driver"], settings["name"])
        options = LocalOptions.from_mapping(settings["options"])
        self._cluster = LocalCluster(self._base, settings["experiment_id"], options, _Clock())
        self._listen()
        slots = self._cluster.slots
        return {
            "version": VERSION,
            "python": list(sys.version_info[:2]),
            "interpreter": sys.executable,
            "host": socket.gethostname(),
            "directory": str(self._base),
            "free": shutil.disk_usage(self._base).free,
            "cpus": slots.cpus,
            "gpus": list(slots.gpus),
        }

    def _submit(self, cluster: LocalCluster, data: Mapping[str, Any]) -> dict[str, Any]:
        tag = Tag.parse(data["tag"])
        assert tag is not None
        request = JobRequest(
            tag, data["name"], tuple(data["command"]), Resources.from_json(data["resources"]),
            Path(data["stdout"]), Path(data["stderr"]), data["env"],
        )  # fmt: skip
        own = None
        if request.command[1:4] == WORKER:
            own = Path(tempfile.mkdtemp(prefix=f"{ends.STAGE_PREFIX}{tag.trial_id}-{tag.attempt}-", dir=self._base))
            request = self._transferring(request, own)
        (outcome,) = cluster.submit([request])
        if isinstance(outcome, Accepted):
            return {"job": outcome.job_id}
        if own is not None:
            own.rmdir()
        assert isinstance(outcome, Refused)
        return {"refused": outcome.reason, "permanent": outcome.permanent}

    def _transferring(self, request: JobRequest, own: Path) -> JobRequest:
        """The request of a worker, as a job that works in the directory ``own`` and transfers its files."""
        limits = (f"{self._settings['poll_s']:g}", f"{self._settings['patience_s']:g}")
        where = (*request.command[4:], str(request.stdout), str(request.stderr), *limits)
        command = ("python", "-u", "-m", "hpctune.file_transfer", f"{PREFIX}{self._socket}", *where)
        env = {**request.env, ends.STAGE_VARIABLE: str(own)}
        return replace(request, command=command, stdout=own / "stdout", stderr=own / "stderr", env=env)

    def _jobs(self, cluster: LocalCluster) -> list[dict[str, Any]]:
        found = cluster.jobs()
        shares = cluster.allocations()
        return [
            {
                "job": job.job_id,
                "tag": str(job.tag),
                "state": job.state.value,
                "reason": job.reason,
                "share": None if (share := shares.get(job.job_id)) is None else share.to_json(),
            }
            for job in found
        ]

    # -- files ----------------------------------------------------------------------------------------------------

    @property
    def _socket(self) -> Path:
        return self._base / "files"

    def _listen(self) -> None:
        """Take the connections of jobs from now on."""
        draft = self._base / f"files.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_address(str(draft)) as address:
            self._listening.bind(address)
        self._listening.listen(128)
        draft.replace(self._socket)
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                job, _ = listening.accept()
            except OSError:
                return
            stream = self._streams.open()
            threading.Thread(target=_pass_on, args=(job, stream), daemon=True).start()
            threading.Thread(target=_pass_back, args=(stream, job), daemon=True).start()

    def end(self) -> None:
        """See that jobs end that were cancelled, and remove what no job needs."""
        if self._listening is None or self._cluster is None:
            return
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # a job that connects now would wait for an answer
        self._listening.close()
        with contextlib.suppress(TuneError):
            while self._cluster.is_ending_jobs:  # the next agent that comes ends this one, and goes on
                self._cluster.jobs()
                time.sleep(_ENDING_POLL_S)
        with contextlib.suppress(OSError):
            if _pid_in(self._base / "agent") != str(os.getpid()):
                return
        for remove, path in ((os.unlink, "files"), (os.unlink, "agent"), (os.rmdir, "jobs"), (os.rmdir, "")):
            with contextlib.suppress(OSError):  # it is not there, or jobs still run
                remove(self._base / path)


class _Clock:
    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float, undisturbed: float = 0.0) -> None:
        time.sleep(seconds)


def _make_private(base: Path) -> None:
    """Make the directory ``base`` for this user only. Raises StorageError if it is somebody else's."""
    base.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        base.mkdir(mode=0o700)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise StorageError(f"{base} is there and is not a directory that only you can read. Remove it.")


def _pid_in(path: Path) -> str:
    return path.read_text().split()[0]


def _replace_earlier_agent(base: Path, driver: str, name: str) -> None:
    """End an agent of the same experiment, whose connection is lost without its knowing, and become the agent.

    Raises StorageError if ``driver`` has one here by another name of this machine.
    """
    path, lock = base / "agent", os.open(base, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(OSError, ValueError):
            pid, started, its_driver, its_name = path.read_text().split()
            if machine.start_time(int(pid)) == started and int(pid) != os.getpid():
                if its_driver == driver and its_name != name:
                    raise StorageError(f"It is the same machine as {its_name}. Name it once.")
                os.kill(int(pid), signal.SIGKILL)
        path.write_text(f"{os.getpid()} {machine.start_time(os.getpid())} {driver} {name}\n")
    finally:
        os.close(lock)


def _pass_on(job: socket.socket, stream: Stream) -> None:
    """From the job to the driver."""
    with contextlib.suppress(OSError):
        while data := job.recv(LARGEST):
            if not stream.send(data):
                break
    stream.close()


def _pass_back(stream: Stream, job: socket.socket) -> None:
    """From the driver to the job."""
    with contextlib.suppress(OSError):
        while data := stream.recv(LARGEST):
            job.sendall(data)
    with contextlib.suppress(OSError):
        job.shutdown(socket.SHUT_RDWR)
    job.close()


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def search_path(environment: Mapping[str, str], interpreter: str) -> str:
    """The search path of jobs: ``python`` in a program is this interpreter, unless an environment is active."""
    known = environment.get("PATH", os.defpath)
    if any(name in environment for name in ("VIRTUAL_ENV", "CONDA_PREFIX")):
        return known
    return os.pathsep.join([str(Path(interpreter).parent), known])


def main() -> None:
    """Serve the driver until stdin ends."""
    show_messages()
    os.environ["PATH"] = search_path(os.environ, sys.executable)
    wire = os.dup(1)
    os.dup2(2, 1)  # what anything prints is no answer
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    made: list[Agent] = []
    streams = Streams(
        lambda data: _write_all(wire, data), lambda stream: stream.close(), lambda message: made[0].heard(message),
        greeted=True,
    )  # fmt: skip
    made.append(Agent(streams))
    with contextlib.suppress(BrokenPipeError):
        streams.greet()
        while data := os.read(0, LARGEST):
            streams.feed(data)
    streams.end()
    made[0].end()
    os._exit(0)  # threads may wait for jobs


if __name__ == "__main__":
    main()
