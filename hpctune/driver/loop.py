"""The only loop: drives one or several experiments side by side, and leaves in good order when told to."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType

from hpctune.common import forks
from hpctune.driver.engine import Driver
from hpctune.driver.gc_tuning import frozen_gc
from hpctune.ports import Clock

LEAVE_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@dataclass(slots=True)
class LeaveRequest:
    """Set by a signal (or a caller): leave at the next turn. A second signal leaves at once, without ceremony."""

    reason: str = ""
    wake: Callable[[], None] = field(default=lambda: None)

    def __bool__(self) -> bool:
        return bool(self.reason)


@contextlib.contextmanager
def signals(request: LeaveRequest) -> Iterator[None]:
    """Signals of LEAVE_SIGNALS fill ``request`` while this lasts (main thread only; elsewhere nothing changes)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request.reason:
            os._exit(128 + number)
        request.reason = signal.Signals(number).name
        request.wake()

    with forks.handling(dict.fromkeys(LEAVE_SIGNALS, handle)):
        yield


def drive(
    drivers: Sequence[Driver],
    clock: Clock,
    leave: LeaveRequest,
    before_leaving: Callable[[Driver], object] = lambda driver: None,
) -> None:
    """Step every (started) driver until its experiment is over or ``leave`` is filled; then each has left.

    ``before_leaving`` is called with each driver that leaves because of ``leave``. When one driver fails, the others
    leave in good order before its exception goes on.
    """
    running = list(drivers)
    try:
        # The debug cluster's trials run in this process, and may count on what the collector does.
        with contextlib.nullcontext() if _trials_are_here(drivers) else frozen_gc():
            _step_all(running, clock, leave)
    except BaseException as error:
        for driver in running:
            with contextlib.suppress(Exception):
                driver.leave(f"failed: {error!r}")
        raise
    for driver in running:
        before_leaving(driver)
        driver.leave(f"told to leave ({leave.reason})")


def _trials_are_here(drivers: Sequence[Driver]) -> bool:
    return any(getattr(driver.cluster, "in_process", False) for driver in drivers)


def _step_all(running: list[Driver], clock: Clock, leave: LeaveRequest) -> None:
    while running and not leave:
        pauses = []
        for driver in list(running):
            pauses.append(driver.step())
            if driver.finished:
                running.remove(driver)
                driver.leave("finished")
        if running and not leave:
            undisturbed = min(driver.batching_window_s for driver in running)
            clock.sleep(min(pauses), undisturbed)  # even of no length it lets others have the machine
