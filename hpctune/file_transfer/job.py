"""The process that a job runs: it transfers the files of one attempt, and runs the worker as its child."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from hpctune.common.log import log
from hpctune.common.throttle import Throttle
from hpctune.file_transfer import ends
from hpctune.file_transfer.inputs import copy_earlier_runs, copy_inputs
from hpctune.file_transfer.journal_copy import JournalCopy
from hpctune.file_transfer.orders import Orders, obey
from hpctune.file_transfer.others import OutputCopy, OwnFiles
from hpctune.file_transfer.outputs import RunFileCopy
from hpctune.file_transfer.place import Place
from hpctune.file_transfer.server import Server
from hpctune.file_transfer.trouble import Trouble
from hpctune.storage import bundle
from hpctune.storage.doorbell import DoorbellClient
from hpctune.worker import transferred

PASS_S = 0.2
"""Seconds between two looks at the files of the run on this node."""
ROWS_S = 0.5
"""Seconds between two copies of new results, at least. (On a common filesystem others see them after up to 1 s.)"""
PASS_ON_S = 1.0
"""Seconds after which a signal is passed on to the worker, which mostly has got it from Slurm itself by then."""
END_S = 10.0
"""Seconds that the worker has to end after the files of the run are given up."""


class TransferringJob:
    """One attempt. ``restarts``: how often Slurm has started the job again. ``poll_s``: seconds between two looks at
    what the driver says. ``patience_s``: for how many seconds it waits for a host that cannot be reached."""

    def __init__(self, server: Server, place: Place, restarts: int, poll_s: float, patience_s: float) -> None:
        self._server, self._place, self._restarts, self._poll_s = server, place, restarts, poll_s
        self._orders, self._run_file = Orders(server, place), RunFileCopy(server, place)
        self._outputs = [
            OutputCopy(server, place.here / name, there)
            for name, there in (("stdout", place.stdout), ("stderr", place.stderr))
        ]
        self._own_files = OwnFiles(server, place)
        self._journal: JournalCopy | None = None
        self._project_is_copied = False
        self._trouble = Trouble(lambda: server.moved, patience_s)
        self._restart = 0
        """The number of the run that was claimed."""
        self._claimed_at = float("inf")
        self._current = True
        """Whether no other run has replaced this one, and its trial is not over."""
        self._all_is_due()
        self._child: subprocess.Popen[bytes] | None = None
        self._asking, self._asked = socket.socketpair()
        self._question: tuple[str, bytes] | None = None
        """The name of a run file, and the claim in it that waits for confirmation."""
        self._may_ask = True
        """Whether the worker has neither its claim nor ended."""
        self._terminated = False
        self._doorbell = place.here / "doorbell.json"
        self._ringer = DoorbellClient(self._doorbell)
        self._has_doorbell = False
        server.meanwhile = self._look_if_due

    def run(self) -> int:
        """Run the attempt to its end. Returns the exit code of the job."""
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._signalled)
        signal.signal(signal.SIGALRM, self._pass_on)
        if not self._patiently(self._begin):
            return self._given_up("No file of the trial was transferred")
        with (self._place.here / "stdout").open("ab") as out, (self._place.here / "stderr").open("ab") as errors:
            project = {transferred.PROJECT: "1"} if self._project_is_copied else {}
            self._child = subprocess.Popen(
                [sys.executable, "-u", "-m", "hpctune.worker", self._place.experiment.text, self._place.dirname,
                 str(self._place.attempt)],
                env=os.environ | {transferred.VARIABLE: str(self._asking.fileno())} | project,
                pass_fds=[self._asking.fileno()], stdout=out, stderr=errors,
            )  # fmt: skip
        self._asking.close()
        if not self._follow(self._child) or not self._patiently(self._finish):
            return self._given_up("The run goes on elsewhere from the last checkpoint that arrived")
        code = self._child.returncode
        return 128 - code if code < 0 else code

    def _patiently(self, step: Callable[[], object]) -> bool:
        """Do a step, again and again if need be. Returns False if it cannot be done in time."""
        while not self._trouble.attempt(step):
            if self._trouble.too_long:
                return False
            time.sleep(PASS_S)
        return True

    def _given_up(self, what: str) -> int:
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(END_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        log.error(f"hpctune: error: {what}. {self._trouble.error}")
        return ends.REFUSED if self._trouble.refused and self._child is None else ends.UNREACHABLE

    def remove_copies(self) -> None:
        """Remove what was copied; the output stays, for the case that it was not transferred."""
        self._server.close()
        for name in self._place.here.iterdir():
            if name.is_dir():
                shutil.rmtree(name, ignore_errors=True)

    # -- signals --------------------------------------------------------------------------------------------------

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """Slurm's warning, or its order to end. The worker ends the run at its next report, and the last files go out.

        Slurm mostly signals all processes of a step. So the worker gets SIGUSR2, and not at once: a second one changes
        nothing, and after SIGTERM it does not count.
        """
        if number == signal.SIGTERM:
            self._terminated = True
            if self._child is None:
                sys.exit(128 + number)
        signal.setitimer(signal.ITIMER_REAL, PASS_ON_S)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() < self._claimed_at + PASS_ON_S:  # it may not be ready for signals
            if self._child is None or self._child.returncode is None:
                signal.setitimer(signal.ITIMER_REAL, PASS_ON_S)
        elif self._child is not None and self._child.returncode is None:
            self._child.send_signal(signal.SIGUSR2)

    # -- before the worker ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._project_is_copied = copy_inputs(self._server, self._place, self._orders, self._restarts)
        if bundle.follows_journal(self._place.experiment):
            self._journal = JournalCopy(self._server, self._place)
            self._journal.look()
        self._has_doorbell = self._server.exists(f"{self._place.root}/doorbell.json")
        self._own_files.begin()

    # -- while the worker runs ------------------------------------------------------------------------------------

    def _all_is_due(self) -> None:
        """Make the next copy look at the host, and copy all that is new."""
        self._looks, self._others = Throttle(self._poll_s, 0), Throttle(self._poll_s, 0)
        self._rows = Throttle(ROWS_S, 0)

    def _follow(self, child: subprocess.Popen[bytes]) -> bool:
        """Copy until the worker ends. Returns False if the files cannot be transferred any more."""
        while child.poll() is None:
            self._listen()
            self._trouble.attempt(self._copy)
            if self._trouble.too_long:
                return False
        return True

    def _listen(self) -> None:
        """Wait a moment, or until the worker or the driver wants something."""
        listened = [*self._ringer.ends(), *([self._asked] if self._may_ask and self._question is None else [])]
        ready, _, _ = select.select(listened, [], [], PASS_S)
        if self._asked in ready:
            name = self._asked.recv(1024).decode().strip()
            self._may_ask = bool(name)
            self._question = (name, (self._place.paths.root / name).read_bytes()) if name else None

    def _copy(self) -> None:
        """Copy both ways. It looks first: what the driver has removed must not be copied."""
        if self._ringer.heard() or self._trouble.error is not None:
            self._all_is_due()
        self._look_if_due()
        if self._question is not None:
            self._claim(*self._question)
        now = time.monotonic()
        if self._current and self._rows.due(now) and self._run_file.grown():
            with self._rows.measured(now):
                self._run_file.copy()
            self._ringer.ring()
        if self._current and self._others.due(now):
            with self._others.measured(now):
                for output in self._outputs:
                    output.copy()
                self._own_files.copy()

    def _claim(self, name: str, claim: bytes) -> None:
        """Answer the worker, which has claimed a run here."""
        restart = int(name.split(".")[1])
        if self._run_file.claim(name, claim):
            self._restart, self._claimed_at = restart, time.monotonic()
            if self._place.attempt > 1 or restart:
                self._run_file.tidy()
            answer = transferred.YES
        else:
            copy_earlier_runs(self._server, self._place, self._restarts, self._orders.trial_id)
            answer = transferred.NO
        self._question = None
        with contextlib.suppress(OSError):
            self._asked.sendall(answer)

    def _look_if_due(self) -> None:
        """Look at what the driver says, also in the middle of a long copy."""
        if self._child is not None and self._looks.due(now := time.monotonic()):
            with self._looks.measured(now):
                self._look()

    def _look(self) -> None:
        try:
            inside = self._server.entries(self._place.trial)
        except FileNotFoundError:
            inside = {}
        self._orders.look(inside)
        if self._run_file.claimed and self._current:
            self._current = obey(self._place, inside, self._restart)
        if self._journal is not None:
            self._journal.look()
        if self._has_doorbell:
            with contextlib.suppress(FileNotFoundError):
                self._doorbell.write_bytes(self._server.read(f"{self._place.root}/doorbell.json"))

    # -- after the worker -----------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Copy the rest. The driver finalizes the trial after the exit record, so that is last; unless Slurm is about
        to end this process as well. After an error it looks first: the driver may have read that record."""
        claimed = self._run_file.claimed
        if claimed and self._trouble.error is not None:
            self._look()
        if not self._current:
            return
        if claimed:
            self._run_file.copy(to_the_end=self._terminated)
        for output in self._outputs:
            output.copy()
        if claimed:
            self._own_files.copy(to_the_end=True)
            self._run_file.copy(to_the_end=True)
            self._ringer.ring()
        self._ringer.close()
