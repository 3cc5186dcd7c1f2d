"""Driving experiments that were made or opened: clusters, displays, signals, and what people are told."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from hpctune import envvars
from hpctune.cluster.debug import DebugCluster
from hpctune.core.resume import ResumeChoice
from hpctune.driver import loop
from hpctune.driver.clock import WallClock
from hpctune.driver.engine import Driver
from hpctune.driverchain import call_off
from hpctune.errors import ClusterUnavailableError, StorageError
from hpctune.launch import Launch
from hpctune.model.trial import Phase
from hpctune.notice import tell
from hpctune.output.display import Display, make_display
from hpctune.ports import Clock, Cluster
from hpctune.space import experiment_tag
from hpctune.storage import bundle, specfile
from hpctune.storage.doorbell import Doorbell
from hpctune.storage.layout import ExperimentPaths
from hpctune.where import few_pending

BUSY_ON_A_LOGIN_NODE, BUSY_ON_OWN_MACHINE = 0.5, 1.0
"""The share of the time for which a driver may work, by whether others need the machine as well."""


@dataclass(slots=True, kw_only=True)
class Start:
    """One experiment to be driven. ``resume`` and ``num_samples``: as ``Driver.start`` has them.

    ``renewed``: definition and code are the script's of now; they replace what is stored once the lease is ours.
    """

    paths: ExperimentPaths
    launch: Launch
    resume: ResumeChoice | None = None
    num_samples: int | None = None
    renewed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How driving ended. ``left``: the signal that ended it early; empty when every experiment is over."""

    drivers: tuple[Driver, ...]
    left: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """An experiment whose driving began; ``leave`` says which signal ended that early, if one did."""

    driver: Driver
    leave: loop.LeaveRequest


_watchers: ContextVar[list[Watched] | None] = ContextVar("hpctune_watchers", default=None)


@contextlib.contextmanager
def watched() -> Iterator[list[Watched]]:
    """Note every experiment whose driving begins while this lasts, whoever starts it."""
    seen: list[Watched] = []
    token = _watchers.set(seen)
    try:
        yield seen
    finally:
        _watchers.reset(token)


def _note(rides: Sequence[_Ride], leave: loop.LeaveRequest) -> None:
    seen = _watchers.get()
    if seen is not None:
        seen += [Watched(ride.driver, leave) for ride in rides]


@dataclass(slots=True)
class _Ride:
    """An experiment with everything that its driving needs."""

    start: Start
    cluster: Cluster
    driver: Driver
    display: Display


@dataclass(slots=True)
class _Farewell:
    """What happens to jobs, and what people are told, when driving ends early."""

    cancel: bool
    rides: list[_Ride] = field(default_factory=list)

    def announce(self, clock: WallClock) -> None:
        """Called by the signal: say what will happen. Writes past Python's buffers, which may be in use."""
        what = "cancelling the jobs" if self.cancel else "jobs go on"
        refused = next((ride.driver.failure for ride in self.rides if ride.driver.failure), "")
        saved = f"the storage refuses, what is new is not saved ({refused})" if refused else "everything is saved"
        with contextlib.suppress(OSError):
            os.write(2, f"\nLeaving ({what}); {saved}. Once more leaves at once.\n".encode())
        clock.wake()

    def before_leaving(self, driver: Driver) -> None:
        """Cancel the driver's jobs, where that was asked for."""
        if self.cancel:
            with contextlib.suppress(ClusterUnavailableError, StorageError):
                driver.cancel_jobs("cancelled when its driver left")

    def tell(self) -> None:
        """Say what is left behind, and what to do about it; nothing where every experiment is over."""
        for ride in self.rides:
            driver, root = ride.driver, ride.start.paths.root
            if not driver.finished:
                live = driver.state.live
                rest = "" if self.cancel or not live else f"; {live} job{'s' * (live != 1)} go{'es' * (live == 1)} on"
                if driver.failure:
                    rest += f". What was new could not be saved: {driver.failure} The next driver finds it out again"
                tell(f"Left{rest}. Resume: hpctune resume {root}. Stop: hpctune stop {root}")


def start_and_drive(starts: Sequence[Start], *, cancel_on_exit: bool = False) -> Outcome:
    """Drive these experiments side by side until all are over, or a signal asks to leave.

    Raises DriverAliveError when one is being driven already, and what a driver raises.
    """
    if len(starts) > 1 and any(start.launch.cluster.name == DebugCluster.name for start in starts):
        return _one_by_one(starts, cancel_on_exit)
    alone = "SLURMD_NODENAME" in os.environ or all(start.launch.cluster.name == "local" for start in starts)
    clock = WallClock(BUSY_ON_OWN_MACHINE if alone else BUSY_ON_A_LOGIN_NODE)
    farewell = _Farewell(cancel_on_exit)
    leave = loop.LeaveRequest(wake=lambda: farewell.announce(clock))
    with contextlib.ExitStack() as stack:
        stack.callback(farewell.tell)  # after the displays are closed
        for start in starts:
            farewell.rides.append(_board(start, clock, stack, farewell))
        _note(farewell.rides, leave)
        _drive(farewell, clock, leave)
    for ride in farewell.rides:
        if ride.driver.finished:
            call_off(ride.start.paths, ride.driver.spec)
    return Outcome(tuple(ride.driver for ride in farewell.rides), leave.reason)


def start_and_leave(start: Start) -> None:
    """Let what ``start`` asks for take effect, for another driver to go on with.

    Raises DriverAliveError when the experiment is being driven, and what a driver raises at its start.
    """
    with contextlib.ExitStack() as stack:
        ride = _board(start, WallClock(), stack, _Farewell(cancel=False))
        ride.driver.leave("told to leave (goes on in a job)")


def _board(start: Start, clock: Clock, stack: contextlib.ExitStack, farewell: _Farewell) -> _Ride:
    """Make and start one driver; if that fails, those that have started leave."""
    launch, paths = start.launch, start.paths
    try:
        cluster = launch.cluster.build(paths.root, launch.spec.experiment_id, clock)
        stack.callback(cluster.close)
        display = make_display(launch.spec, launch.verbose, launch.reporter, where=str(paths.root), calls=cluster.stats)
        stack.callback(display.close)
        driver = _driver(start, cluster, clock, display, _doorbell(launch, paths, clock, stack))
        if start.renewed:
            _start_renewed(driver, start)
        else:
            driver.start(start.resume, start.num_samples)
        driver.lease.keep()
        ride = _Ride(start, cluster, driver, display)
    except BaseException as error:
        for earlier in farewell.rides:
            with contextlib.suppress(Exception):
                earlier.driver.leave(f"another experiment could not be started: {error!r}")
        raise
    return ride


def _doorbell(launch: Launch, paths: ExperimentPaths, clock: Clock, stack: contextlib.ExitStack) -> Doorbell | None:
    """The driver's bell, where the cluster's options want one and a port can be had."""
    if not launch.cluster.doorbell or not isinstance(clock, WallClock):
        return None
    try:
        bell = Doorbell(paths.doorbell, everywhere=launch.cluster.name != "local")
    except (OSError, StorageError):
        return None  # then everything happens at the polls
    stack.callback(bell.close)
    clock.listen(bell)
    return bell


def _driver(start: Start, cluster: Cluster, clock: Clock, display: Display, bell: Doorbell | None) -> Driver:
    launch = start.launch
    waiting: list[Driver] = []

    def pending() -> int:
        return waiting[0].state.phases[Phase.QUEUED] if waiting else 0

    driver = Driver(
        start.paths,
        launch.spec,
        launch.setup,
        few_pending(cluster, launch.max_pending, pending),
        clock,
        display,
        experiment_tag,
        bell=bell,
        exit_lag_s=launch.cluster.exit_lag_s,
    )
    waiting.append(driver)
    return driver


def _start_renewed(driver: Driver, start: Start) -> None:
    """Start, and store what the script says now: later attempts, and a later resume without the script, go by it.

    It is pickled before (callbacks may not be picklable once they are set up) and published after: until then another
    driver may be at work.
    """
    launch, paths = start.launch, start.paths
    staging = ExperimentPaths(paths.root / f".renewed-{os.getpid()}")
    try:
        staging.root.mkdir(mode=0o700, exist_ok=True)
        bundle.save(staging, launch.trainable, launch.setup)
        driver.start(start.resume, start.num_samples)
        try:
            _publish(staging, paths)
            specfile.write(paths, launch.spec)
        except BaseException as error:
            with contextlib.suppress(Exception):
                driver.leave(f"its definition cannot be stored: {error!r}")
            raise
    except OSError as error:
        raise StorageError(f"Cannot write in {paths.root}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(staging.root, ignore_errors=True)


def _publish(staging: ExperimentPaths, paths: ExperimentPaths) -> None:
    if staging.objects.is_dir():
        paths.objects.mkdir(mode=0o700, exist_ok=True)
        for path in staging.objects.iterdir():
            path.replace(paths.objects / path.name)
    Path(staging.trainable).replace(paths.trainable)
    staging.driver_bundle.replace(paths.driver_bundle)


def _one_by_one(starts: Sequence[Start], cancel_on_exit: bool) -> Outcome:
    """For clusters that need the main thread for themselves."""
    drivers: list[Driver] = []
    left = ""
    for start in starts:
        outcome = start_and_drive([start], cancel_on_exit=cancel_on_exit)
        drivers += outcome.drivers
        left = outcome.left
        if left:
            break
    return Outcome(tuple(drivers), left)


def _drive(farewell: _Farewell, clock: WallClock, leave: loop.LeaveRequest) -> None:
    drivers = [ride.driver for ride in farewell.rides]
    cluster = farewell.rides[0].cluster if farewell.rides else None
    if isinstance(cluster, DebugCluster):  # user code has the main thread, and Ctrl-C is for it
        cluster.serve(lambda: loop.drive(drivers, clock, leave, farewell.before_leaving))
        return
    with _signals(leave):
        loop.drive(drivers, clock, leave, farewell.before_leaving)


@contextlib.contextmanager
def _signals(leave: loop.LeaveRequest) -> Iterator[None]:
    if envvars.settings().signals:
        with loop.signals(leave):
            yield
    else:
        yield
