"""The connection between a rank and its trial's process: lines of JSON over TCP."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
import traceback
from _thread import start_new_thread
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hpctune.errors import TuneError
from hpctune.storage import values
from hpctune.worker.end_of_run import EndOfRun
from hpctune.worker.ranks.world import LOOPBACK, Hello

ADDRESS_VARIABLE = "HPCTUNE_RANKS_HEAD"
"""``HOST,HOST:PORT``: names of the head's node, the best first."""
TOKEN_VARIABLE = "HPCTUNE_RANKS_TOKEN"
RANK_VARIABLE = "HPCTUNE_RANK"
"""The rank, where the head itself has started the process; else Slurm's variables say it."""
BEAT_S = 5.0
"""Seconds between two signs of life."""
CONNECT_S = 20.0
"""Seconds for one attempt to reach the head by one of its names."""
GRACE_S = 3.0
"""Seconds that user code has to end when the trial is over."""
ENDED = "the trial is over"


def lines_of(received: bytes) -> tuple[list[bytes], bytes]:
    """The complete lines, and what is left."""
    *lines, rest = received.split(b"\n")
    return [line for line in lines if line], rest


def encoded(message: Mapping[str, Any]) -> bytes:
    """A message as it is sent."""
    return values.dumps(message).encode() + b"\n"


class Link:
    """A rank's end. One thread reads, gives signs of life, and exits the process if the head is gone."""

    def __init__(self, connection: socket.socket, hello: Hello) -> None:
        self.hello = hello
        self._socket, self._sending = connection, threading.Lock()
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.over = threading.Event()
        """The head has said that the trial is over."""
        self.signalled = ""
        """Name of a signal that this rank has received, until the head knows of it."""
        self.running = False
        """User code runs in the main thread."""
        start_new_thread(self._read, ())

    @classmethod
    def connect(cls, environ: Mapping[str, str]) -> Link:
        """Connect to the head. Raises TuneError if it cannot be reached."""
        names, _, port = environ[ADDRESS_VARIABLE].rpartition(":")
        trouble = []
        for name in dict.fromkeys(names.split(",")):
            try:
                connection = socket.create_connection((name, int(port)), timeout=CONNECT_S)
            except OSError as error:
                trouble.append(f"{name}: {error}")
                continue
            connection.settimeout(None)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            hello = _hello(environ, connection)
            connection.sendall(encoded({"hello": asdict(hello), "token": environ[TOKEN_VARIABLE]}))
            return cls(connection, hello)
        raise TuneError(
            f"A rank on {socket.gethostname()} cannot reach its trial's process at port {port}: {'; '.join(trouble)}. "
            "Does a firewall separate the nodes of a job?"
        )

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message. If the head is gone, the reading thread ends this process."""
        with self._sending:
            try:
                self._socket.sendall(encoded(message))
            except OSError:
                time.sleep(GRACE_S)

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and wait for its answer. Raises EndOfRun if the trial is over instead."""
        self.send(message)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Wait for the next answer. Raises EndOfRun if the trial is over instead."""
        found = self._answers.get()
        if "end" in found:
            raise EndOfRun(None, ENDED)
        return found

    def interrupted(self, number: int) -> None:
        """Handle a signal (main thread): tell the head of it, or end user code if the head has said so."""
        if self.over.is_set():
            if self.running:
                self.running = False
                raise EndOfRun(None, ENDED)
        else:
            self.signalled = signal.Signals(number).name

    def _read(self) -> None:
        received, beat_at = b"", time.monotonic() + BEAT_S
        while True:
            ready, _, _ = select.select([self._socket], [], [], 1.0)
            if self.signalled:
                name, self.signalled = self.signalled, ""
                self.send({"signal": name})
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + BEAT_S
                self.send({"alive": True})
            if not ready:
                continue
            try:
                chunk = self._socket.recv(65_536)
            except OSError:
                chunk = b""
            if not chunk:
                os._exit(1)  # the head is gone, and with it the trial
            lines, received = lines_of(received + chunk)
            for line in lines:
                self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if "stack" in message:
            self.send({"stack": main_stack()})
            return
        if "end" in message:
            self.over.set()
            start_new_thread(_exit_later, ())
            main = threading.main_thread().ident
            if main is not None:
                signal.pthread_kill(main, signal.SIGUSR2)
        self._answers.put(message)


def _exit_later() -> None:
    time.sleep(GRACE_S)
    os._exit(0)


def main_stack() -> str:
    """Where the main thread is."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


def _hello(environ: Mapping[str, str], connection: socket.socket) -> Hello:
    own = environ.get(RANK_VARIABLE)
    return Hello(
        int(environ["SLURM_PROCID"] if own is None else own),
        host=socket.gethostname(),
        node=environ.get("SLURMD_NODENAME", "") if own is None else "",
        pid=os.getpid(),
        port=_free_port(connection),
        reached=connection.getpeername()[0],
    )


def _free_port(connection: socket.socket) -> int:
    """A port that is free at the address by which others reach this process."""
    with socket.socket() as probe:
        probe.bind((connection.getsockname()[0], 0))
        return int(probe.getsockname()[1])


def names_of_this_node(environ: Mapping[str, str], *, here: bool) -> Sequence[str]:
    """Names by which ranks find this process, the best first. ``here``: all ranks are on this node."""
    from hpctune.worker.autofill import node_ip

    if here:
        return (LOOPBACK,)
    names = (environ.get("SLURMD_NODENAME", ""), socket.gethostname(), node_ip())
    return tuple(dict.fromkeys(name for name in names if name))
