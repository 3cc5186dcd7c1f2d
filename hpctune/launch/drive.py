"""Drives prepared experiments: builds clusters and displays, handles signals, and reports an early end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from hpctune.cluster.debug import DebugCluster
from hpctune.cluster.pending_limit import limit_pending
from hpctune.common.log import log
from hpctune.common.text import quoted
from hpctune.driver import loop
from hpctune.driver.clock import WallClock
from hpctune.driver.engine import Driver
from hpctune.errors import ClusterUnavailableError, StorageError, UsageError
from hpctune.launch import driven as watchers
from hpctune.launch.driven import DrivenExperiment
from hpctune.launch.driver_chain import cancel_queued
from hpctune.launch.prepared import PreparedExperiment
from hpctune.launch.store import replace_stored
from hpctune.model.trial import Phase
from hpctune.output.display.display import Display, make_display
from hpctune.ports import Clock, Cluster
from hpctune.space import experiment_tag
from hpctune.storage.doorbell import Doorbell
from hpctune.worker import is_session_enabled

MAX_BUSY_ON_LOGIN_NODE, MAX_BUSY_ON_OWN_MACHINE = 0.5, 1.0
"""The largest share of the time that a driver may work. On a login node it is smaller, because others use it, too."""


@dataclass(slots=True)
class DriverSession:
    """One experiment with all objects that its driving needs."""

    prepared: PreparedExperiment
    cluster: Cluster
    driver: Driver
    display: Display


@dataclass(slots=True)
class ShutdownHandler:
    """Handles an early end of the driving: jobs and messages. ``cancel``: the jobs are cancelled."""

    cancel: bool
    sessions: list[DriverSession] = field(default_factory=list)

    def announce(self, clock: WallClock) -> None:
        """Print what will happen. The signal handler calls this, so it does not use Python's buffered streams."""
        what = "the jobs are cancelled" if self.cancel else "jobs go on"
        refused = next((one.driver.failure for one in self.sessions if one.driver.failure), "")
        saved = f"new results cannot be saved ({refused})" if refused else "everything is saved"
        text = f"\nStopping the driver: {what}, and {saved}. Press Ctrl-C again to exit immediately.\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode())
        clock.wake()

    def before_leaving(self, driver: Driver, failed: bool) -> None:
        """Cancel the driver's jobs, if ``cancel`` is set."""
        if self.cancel:
            with contextlib.suppress(ClusterUnavailableError, StorageError):
                driver.cancel_jobs("cancelled when its driver ended", last_look=not failed)

    def report(self) -> None:
        """Report which jobs go on, and the commands to resume or stop. Prints nothing if every experiment is over."""
        for session in self.sessions:
            driver, root = session.driver, session.prepared.paths.root
            if not driver.finished:
                live = driver.state.live
                rest = "" if self.cancel or not live else f"; {live} job{'s' * (live != 1)} go{'es' * (live == 1)} on"
                if driver.failure:
                    rest += f". New results could not be saved: {driver.failure} The next driver reads them again"
                log.info(
                    f"The driver has ended{rest}. Resume: hpctune resume {quoted(root)}. "
                    f"Stop: hpctune stop {quoted(root)}"
                )


def drive(prepared: Sequence[PreparedExperiment], *, cancel_on_exit: bool = False) -> list[DrivenExperiment]:
    """Drive these experiments side by side until all are over, or until a signal ends the driving.

    Inside a trial they end with it: their jobs are cancelled if it ends early, and signals are the trial's.

    Raises DriverAliveError if one of them has a driver already, and whatever a driver raises.
    """
    cancel_on_exit = cancel_on_exit or is_session_enabled()
    if len(prepared) > 1 and any(one.cluster.name == DebugCluster.name for one in prepared):
        return _one_by_one(prepared, cancel_on_exit)
    alone = "SLURMD_NODENAME" in os.environ or all(one.cluster.name in ("local", "ssh") for one in prepared)
    clock = WallClock(MAX_BUSY_ON_OWN_MACHINE if alone else MAX_BUSY_ON_LOGIN_NODE)
    shutdown = ShutdownHandler(cancel_on_exit)
    leave = loop.LeaveRequest(wake=lambda: shutdown.announce(clock))
    with contextlib.ExitStack() as stack:
        stack.callback(shutdown.report)  # after the displays are closed
        for one in prepared:
            shutdown.sessions.append(_start_session(one, clock, stack, shutdown.sessions))
        driven = [DrivenExperiment(session.driver, leave) for session in shutdown.sessions]
        for experiment in driven:
            watchers.note(experiment)
        _serve(shutdown.sessions, stack)
        _follow(shutdown.sessions, stack)
        _loop(shutdown, clock, leave)
    for session in shutdown.sessions:
        if session.driver.finished:
            cancel_queued(session.prepared.paths, session.driver.spec)
    return driven


def _serve(sessions: Sequence[DriverSession], stack: contextlib.ExitStack) -> None:
    """Start the server for clients, if an experiment wants one. If it cannot start, the driving goes on without it."""
    port = next((port for one in sessions if (port := one.prepared.spec.server_port) is not None), None)
    if port is None:
        return
    from hpctune.launch.server import Served, TuneServer

    try:
        server = TuneServer([Served(one.driver, one.prepared.setup) for one in sessions], port)
    except (OSError, UsageError) as error:
        log.warning(f"There is no server for clients: {error}")
        return
    stack.callback(server.shutdown)


def _follow(sessions: Sequence[DriverSession], stack: contextlib.ExitStack) -> None:
    """Start the threads that keep mirrors up to date. They end after the drivers, with a last pass."""
    for session in sessions:
        options = getattr(session.prepared.setup, "mirror", None)  # setups of earlier versions have none
        if options is not None:
            from hpctune.mirror.follower import MirrorFollower
            from hpctune.mirror.mirror import Mirror

            prepared, guard = session.prepared, session.driver.copy_guard
            mirror = Mirror(prepared.paths, prepared.spec.experiment_id, options, guard)
            stack.callback(MirrorFollower(mirror).close)


def apply_resume(prepared: PreparedExperiment) -> None:
    """Record the effects of a resume, so that another driver can go on.

    Raises DriverAliveError if the experiment has a driver, and whatever a driver raises at its start.
    """
    with contextlib.ExitStack() as stack:
        session = _start_session(prepared, WallClock(), stack, [])
        session.driver.leave("told to leave (goes on in a job)")


def _start_session(
    prepared: PreparedExperiment, clock: Clock, stack: contextlib.ExitStack, started: Sequence[DriverSession]
) -> DriverSession:
    """Make and start one driver. If that fails, the drivers in ``started`` end."""
    paths, spec = prepared.paths, prepared.spec
    try:
        cluster = prepared.cluster.build(paths.root, spec.experiment_id, clock)
        stack.callback(cluster.close)
        display = make_display(spec, prepared.verbose, prepared.reporter, where=str(paths.root), calls=cluster.stats)
        stack.callback(display.close)
        driver = _driver(prepared, cluster, clock, display, _doorbell(prepared, clock, stack))
        if prepared.replaces_stored:
            replace_stored(prepared, lambda: driver.start(prepared.resume, prepared.num_samples), driver.leave)
        else:
            driver.start(prepared.resume, prepared.num_samples)
        driver.lease.keep()
    except BaseException as error:
        for earlier in started:
            with contextlib.suppress(Exception):
                earlier.driver.leave(f"another experiment could not be started: {error!r}")
        raise
    return DriverSession(prepared, cluster, driver, display)


def _doorbell(prepared: PreparedExperiment, clock: Clock, stack: contextlib.ExitStack) -> Doorbell | None:
    """The driver's doorbell, if the cluster's options want one and a port is available."""
    if not prepared.cluster.doorbell or not isinstance(clock, WallClock):
        return None
    try:
        bell = Doorbell(prepared.paths.doorbell, everywhere=prepared.cluster.name != "local")
    except (OSError, StorageError):
        return None  # without a doorbell, the polls find everything
    stack.callback(bell.close)
    clock.listen(bell)
    return bell


def _driver(
    prepared: PreparedExperiment, cluster: Cluster, clock: Clock, display: Display, bell: Doorbell | None
) -> Driver:
    made: list[Driver] = []

    def pending() -> int:
        return made[0].state.phases[Phase.QUEUED] if made else 0

    driver = Driver(
        prepared.paths,
        prepared.spec,
        prepared.setup,
        limit_pending(cluster, prepared.max_pending, pending),
        clock,
        display,
        experiment_tag,
        bell=bell,
        exit_lag_s=prepared.cluster.exit_lag_s,
    )
    made.append(driver)
    return driver


def _one_by_one(prepared: Sequence[PreparedExperiment], cancel_on_exit: bool) -> list[DrivenExperiment]:
    """Drive one experiment after another, for a cluster that needs the main thread."""
    driven: list[DrivenExperiment] = []
    for one in prepared:
        driven += drive([one], cancel_on_exit=cancel_on_exit)
        if driven[-1].left:
            break
    return driven


def _loop(shutdown: ShutdownHandler, clock: WallClock, leave: loop.LeaveRequest) -> None:
    sessions = shutdown.sessions
    drivers = [session.driver for session in sessions]
    cluster = sessions[0].cluster if sessions else None
    if isinstance(cluster, DebugCluster):  # user code runs in the main thread and receives Ctrl-C
        cluster.serve(lambda: loop.drive(drivers, clock, leave, shutdown.before_leaving))
        return
    handled = not is_session_enabled() and all(session.prepared.handle_signals for session in sessions)
    with loop.signals(leave) if handled else contextlib.nullcontext():
        loop.drive(drivers, clock, leave, shutdown.before_leaving)
