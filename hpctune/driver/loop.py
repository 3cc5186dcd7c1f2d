"""The main loop: drives one or several experiments side by side, and ends properly when asked to."""

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
    """A request to end the driving at the next turn, set by a signal or a caller. A second signal exits immediately."""

    reason: str = ""
    wake: Callable[[], None] = field(default=lambda: None)

    def __bool__(self) -> bool:
        return bool(self.reason)


@contextlib.contextmanager
def signals(request: LeaveRequest) -> Iterator[None]:
    """In this context the signals in LEAVE_SIGNALS fill ``request``. In other threads than the main one: no effect."""
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
    before_leaving: Callable[[Driver, bool], object] = lambda driver, failed: None,
) -> None:
    """Step every (started) driver until its experiment is over or ``leave`` is set. Then each driver has ended.

    ``before_leaving`` is called with each driver that ends early, and whether that is because of a failure. If one
    driver fails, the others end properly before its exception is raised.
    """
    running = list(drivers)
    try:
        # Trials of the debug cluster run in this process, and may depend on the garbage collector.
        with contextlib.nullcontext() if _trials_are_here(drivers) else frozen_gc():
            _step_all(running, clock, leave)
    except BaseException as error:
        for driver in running:
            with contextlib.suppress(Exception):
                before_leaving(driver, True)
            with contextlib.suppress(Exception):
                driver.leave(f"failed: {error!r}")
        raise
    for driver in running:
        before_leaving(driver, False)
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
            clock.sleep(min(pauses), undisturbed)  # even a sleep of 0 s limits the driver's share of the CPU
