"""The trial's process while its ranks run: it starts them, takes their reports, and finds out which one failed."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from hpctune.errors import CheckpointError, RankError
from hpctune.model.records import Outcome
from hpctune.worker.end_of_run import EndOfRun
from hpctune.worker.memory import MemoryWatch
from hpctune.worker.ranks.link import ADDRESS_VARIABLE, GRACE_S, TOKEN_VARIABLE, names_of_this_node
from hpctune.worker.ranks.merging import merged
from hpctune.worker.ranks.peer import Peer
from hpctune.worker.ranks.starting import Plan, Started, needs_srun, node_answers, rank_command, start
from hpctune.worker.ranks.trainable import DistributedTrainable
from hpctune.worker.ranks.world import Hello, worlds
from hpctune.worker.session import Session

POLL_S = 0.2
SETTLE_S = 0.5
"""Seconds in which, after an error of one rank, the silent death of another counts as its cause."""
SLOW_S = 60.0
"""The least time that ranks have to start, and that they may be without a sign of life."""
STACK_S = 2.0
"""Seconds in which a rank that seems to hang can say where it is."""


def run_distributed(trainable: DistributedTrainable, session: Session) -> None:
    """Run all ranks of the trial to their end. Raises RankError with what the first that failed has said."""
    head = Head(trainable, session)
    try:
        head.run()
    finally:
        head.close()


class Head:
    """The head of one run."""

    def __init__(self, trainable: DistributedTrainable, session: Session) -> None:
        self._session, self._together, self._timeout_s = session, trainable.together, trainable.timeout_s
        bundles = session.control.resources["bundles"]
        self._gpus = [b["gpu"] / trainable.per_bundle for b in bundles for _ in range(trainable.per_bundle)]
        command = rank_command(str(session.paths.root.parent), session.paths.root.name, session.run.attempt)
        cpus = max(b["cpu"] for b in bundles) / trainable.per_bundle
        self._plan = Plan(len(bundles), trainable.per_bundle, cpus, command)
        self._memory = MemoryWatch()
        self._token = secrets.token_hex(16)
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._started: Started | None = None
        self._peers: dict[int, Peer] = {}
        self._lost: list[Peer] = []
        """Ranks that failed or are gone, in the order in which that became known."""
        self._waits_since = time.monotonic()
        """When the ranks began to wait for each other; meaningless while none waits."""

    # -- the run ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Return when all ranks are done."""
        self._start()
        while not self._all(lambda peer: peer.done):
            self._receive(POLL_S)
            self._watch_session()
            self._find_trouble()
        if (staged := self._peers[0].staged) is not None:
            self._session.stage(Path(staged))

    def _start(self) -> None:
        by_srun = needs_srun(self._plan)
        self._listener = socket.create_server(("" if by_srun else "127.0.0.1", 0), backlog=max(128, self._plan.ranks))
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        names = ",".join(names_of_this_node(os.environ, here=not by_srun))
        address = f"{names}:{self._listener.getsockname()[1]}"
        self._started = start(self._plan, by_srun, {ADDRESS_VARIABLE: address, TOKEN_VARIABLE: self._token})

    def _all(self, test: Callable[[Peer], bool]) -> bool:
        return len(self._peers) == self._plan.ranks and all(map(test, self._peers.values()))

    def _watch_session(self) -> None:
        """Obey the driver, and what a child process of a rank has reported."""
        session = self._session
        session.look_now_and_then()
        if session.ending is not None:
            session.acknowledge()
            raise session.ending

    # -- what the ranks say -------------------------------------------------------------------------------------

    def _receive(self, within_s: float) -> None:
        for key, _ in self._selector.select(within_s):
            if key.data is None:
                self._accept()
            else:
                self._hear(key.data)

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            connection, address = self._listener.accept()
            self._selector.register(connection, selectors.EVENT_READ, Peer(connection, address[0]))

    def _hear(self, peer: Peer) -> None:
        messages = peer.receive()
        if messages is None:
            self._forget(peer)
            if peer.known and not (peer.done or peer.failed):
                peer.gone = True
                self._lost.append(peer)
            return
        for message in messages:
            if not peer.known and not self._admit(peer, message):
                self._forget(peer)
                return
            self._take(peer, message)

    def _forget(self, peer: Peer) -> None:
        self._selector.unregister(peer.connection)
        peer.connection.close()

    def _admit(self, peer: Peer, message: dict[str, Any]) -> bool:
        """Whether the connection is one of our ranks."""
        hello, token = message.get("hello"), message.get("token")
        if not isinstance(hello, dict) or not hmac.compare_digest(str(token).encode(), self._token.encode()):
            return False
        peer.hello, peer.known = replace(Hello(**hello), address=peer.address), True
        self._peers[peer.hello.rank] = peer
        if self._all(lambda one: one.known):
            of_all = worlds([one.hello for one in self._peers.values()], self._gpus)
            for world in of_all:
                self._peers[world.rank].send({"world": world.to_json()})
            self._waits_since = time.monotonic()
        return True

    def _take(self, peer: Peer, message: dict[str, Any]) -> None:
        if "report" in message:
            if not self._waiting():
                self._waits_since = time.monotonic()
            peer.report = message
            self._report_if_complete()
        elif "done" in message:
            if not any(one.done for one in self._peers.values()):
                self._waits_since = time.monotonic()
            peer.done, peer.staged = True, message["staged"]
        elif "failed" in message:
            peer.failed = tuple(message["failed"])
            self._lost.append(peer)
        elif "signal" in message:
            self._session.interrupted = self._session.interrupted or message["signal"]
        elif "stack" in message:
            peer.stack = message["stack"]

    def _waiting(self) -> list[Peer]:
        return [peer for peer in self._peers.values() if peer.report is not None]

    def _report_if_complete(self) -> None:
        """Report for rank 0, once all ranks have reported if they do so together; answer all that wait."""
        if self._lost:  # what follows a failure does not count
            return
        if self._together and not self._all(lambda peer: peer.report is not None):
            return
        waiting = self._waiting()
        reports = {peer.hello.rank: peer.take_report() for peer in waiting}
        answer: dict[str, Any] = {}
        try:
            answer = self._reported(reports)
        except EndOfRun:
            answer = {"stop": True}
            raise
        finally:
            for peer in waiting:
                peer.send({"answer": True, **answer})
            self._waits_since = time.monotonic()

    def _reported(self, reports: dict[int, dict[str, Any]]) -> dict[str, Any]:
        session, first = self._session, reports[0]
        sources = [reports[rank]["checkpoint"] for rank in sorted(reports)]
        try:
            checkpoint = merged([Path(source) for source in sources if source], session.paths)
            session.report(first["report"], checkpoint, final=bool(first["final"]))
        except CheckpointError as error:
            return {"error": str(error), "counted": True}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
        newest = session.newest_checkpoint
        return {"checkpoint": str(newest) if newest is not None else None}

    # -- trouble ------------------------------------------------------------------------------------------------

    def _find_trouble(self) -> None:
        if self._lost:
            self._blame()
        self._check_start()
        self._check_reports()
        now = time.monotonic()
        limit_s = max(self._timeout_s, SLOW_S)
        silent = [peer for peer in self._peers.values() if now - peer.heard_at > limit_s and not peer.done]
        if silent:
            self._hangs(silent, f"gave no sign of life for {limit_s:g} s")

    def _check_start(self) -> None:
        if self._all(lambda peer: peer.known):
            return
        assert self._started is not None
        early = self._started.ended_early(frozenset(self._peers))
        if early is not None:
            rank, code = early
            what = "srun" if rank is None else f"Rank {rank}"
            raise _error(f"{what} {_ended(code)} before all ranks had started. The trial's stderr says more.")
        limit_s = max(self._timeout_s, SLOW_S)
        if time.monotonic() - self._waits_since > limit_s:
            missing = sorted({*range(self._plan.ranks)} - {*self._peers})
            raise _error(f"{_named(missing)} of {self._plan.ranks} did not start within {limit_s:g} s.")

    def _check_reports(self) -> None:
        """Ranks that others wait for: to report together, or to end."""
        waiting, done = self._waiting(), [peer for peer in self._peers.values() if peer.done]
        if waiting and done:
            ended, waits = done[0].hello.rank, waiting[0].hello.rank
            raise _error(
                f"Rank {ended} has returned, and rank {waits} reports once more. All ranks must report equally often."
            )
        if (waiting or done) and time.monotonic() - self._waits_since > self._timeout_s:
            late = [peer for peer in self._peers.values() if not peer.done and peer.report is None]
            what = "report" if waiting else "return"
            self._hangs(late, f"did not {what} within {self._timeout_s:g} s of the first that did")

    def _hangs(self, late: Sequence[Peer], what: str) -> NoReturn:
        """Raise RankError, with the place in the code where these ranks are."""
        for peer in late:
            peer.send({"stack": True})
        deadline = time.monotonic() + STACK_S
        while any(not peer.stack for peer in late) and time.monotonic() < deadline:
            self._receive(POLL_S)
        stacks = "".join(
            f"\nRank {peer.hello.rank} on {peer.hello.host} is here:\n{peer.stack or '(it does not answer)'}"
            for peer in late
        )
        words = f"{_named([peer.hello.rank for peer in late])} {what} (timeout_s)."
        raise RankError("RankError", words, f"{words}\n{stacks}")

    def _blame(self) -> NoReturn:
        """Raise for the rank that was the first to fail, or whose silent end made others fail."""
        first = self._lost[0]
        deadline = time.monotonic() + SETTLE_S
        while not first.gone and time.monotonic() < deadline:
            self._receive(POLL_S)
            first = next((peer for peer in self._lost if peer.gone), first)
        hello = first.hello
        place = f"rank {hello.rank} of {self._plan.ranks} on {hello.host}"
        if first.failed is not None:
            kind, message, trace = first.failed
            raise RankError(kind, f"{place}: {message}", f"{place[0].upper()}{place[1:]}:\n{trace}")
        assert self._started is not None
        code = self._started.code_of(hello.rank, STACK_S)
        if self._started.by_srun and not node_answers(hello.node):
            self._session.end(Outcome.INTERRUPTED, f"the node {hello.node} of rank {hello.rank} is lost")
        if self._out_of_memory():
            words = (
                f"One of the {self._plan.ranks} ranks exceeded its memory; the trial's stderr says on which node. "
                "Ask for more: resources_per_worker={'memory': BYTES} or --mem."
            )
            raise RankError("OutOfMemory", words, f"{words}\n")
        how = "is gone" if code is None else _ended(code)
        raise _error(
            f"{place[0].upper()}{place[1:]} (process {hello.pid}) {how} without an error: it was killed, perhaps for "
            "want of memory, or it has called os._exit. The trial's stderr may say more."
        )

    def _out_of_memory(self) -> bool:
        """Whether memory is what a rank lacked. Slurm says so when the step of all ranks has ended."""
        assert self._started is not None
        self._started.end(STACK_S)
        return self._memory.ran_out()

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all ranks. User code in them has a moment to end by itself."""
        for peer in self._peers.values():
            peer.send({"end": True})
        if self._started is not None:
            self._started.end(GRACE_S + 1.0)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


def _error(words: str) -> RankError:
    return RankError("RankError", words, f"{words}\n")


def _ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _named(ranks: Iterable[int]) -> str:
    numbers = list(ranks)
    return f"Rank {numbers[0]}" if len(numbers) == 1 else f"Ranks {', '.join(map(str, numbers))}"
