"""The engine: drives one experiment in steps of observe, record, perform."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from hpctune.common.backoff import Backoff
from hpctune.core import react
from hpctune.core.plan import View, plan
from hpctune.core.policies import Policies
from hpctune.core.resume import RESTARTING, ResumeChoice, reopenings
from hpctune.core.state import ExperimentState
from hpctune.core.transitions import acceptable
from hpctune.driver import commands
from hpctune.driver.budget_watch import BudgetWatch
from hpctune.driver.demand import compute_demand
from hpctune.driver.job_stderr import refine_job_end
from hpctune.driver.observe import JobWatcher, RunWatcher
from hpctune.driver.perform import Performer
from hpctune.driver.projection import Projector
from hpctune.driver.setup import DriverSetup, TagOf, TrialNamer
from hpctune.driver.status import StatusPublisher, note, outside_note
from hpctune.driver.status_file import STATUS_INTERVAL_S
from hpctune.errors import StorageError
from hpctune.model import events as e
from hpctune.model.actions import Action, DeleteCheckpoint, Finalize
from hpctune.model.jobs import JobState
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase
from hpctune.output.display.display import Display
from hpctune.output.loggers.pbt_log import PolicyLog
from hpctune.ports import NO_DEMAND, Clock, Cluster, Demand
from hpctune.storage import journal
from hpctune.storage.copy_guard import CheckpointKey, CopyGuard
from hpctune.storage.doorbell import Doorbell
from hpctune.storage.inbox import Inbox
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.lease import Lease
from hpctune.version import VERSION

BUDGET_NOTE_S = 10.0
"""Seconds between two records of the driven time."""
JOURNAL_SYNC_S = 1.0
"""Seconds between two syncs of the journal."""
GATHER_S = 0.02
"""Batching window in seconds if no trial waits for a decision. A turn costs the same for one event as for many."""
TIDY_S = 0.5
"""Seconds between two turns that remove files. The journal must be durable before files are removed."""
RESTED_S, TIDY_WITHIN_S, UNTIDY_AT_MOST = 0.1, 10.0, 1000
"""Finished trials are cleaned up after 0.1 s idle, and at the latest after 10 s or 1,000 trials. (If files are removed
while others are created, ext4 becomes slow: each creation steps over recently removed entries.)"""
STORAGE_RETRY_S = 5.0
"""Seconds between two tries while the storage cannot be written."""
COMPLAINT_S = 60.0
"""Seconds between two messages that the storage cannot be written."""
ROUNDS_A_STEP = 4
"""Rounds of decisions and actions between two observations."""


class Driver:
    """Drives one experiment from :meth:`start` to :meth:`leave`; :meth:`step` does one turn.

    ``bell``: the doorbell, by which runs are notified after each turn with changes. ``exit_lag_s``: seconds until a
    run's exit record is visible after the cluster has reported the end of its job. ``pause_s``: the shortest (after
    changes) and longest pause between two turns in seconds. ``status_interval_s``: seconds between two writes of
    driver.json. All decisions depend only on the journal, the clock and the seeds.
    """

    def __init__(
        self,
        paths: ExperimentPaths,
        spec: ExperimentSpec,
        setup: DriverSetup,
        cluster: Cluster,
        clock: Clock,
        display: Display,
        tag_of: TagOf,
        *,
        bell: Doorbell | None = None,
        exit_lag_s: float = 0.0,
        pause_s: tuple[float, float] = (0.05, 1.0),
        status_interval_s: float = STATUS_INTERVAL_S,
    ) -> None:
        self.paths, self.spec, self.cluster, self.clock, self.display = paths, spec, cluster, clock, display
        self._setup, self._exit_lag_s, self._idle = setup, exit_lag_s, Backoff(*pause_s)
        self.state, self._bell = ExperimentState(spec), bell
        self._send_demand: Callable[[Demand], None] | None = getattr(cluster, "demand", None)
        self.failure: str = ""
        """Why the storage cannot be written now; "" if it can. No action is performed meanwhile."""
        self.copy_guard = CopyGuard()
        self._namer = TrialNamer(paths, spec, setup, tag_of, self.state.dirnames)
        self._budget = BudgetWatch(spec, cluster)
        self._status_publisher = StatusPublisher(paths, cluster, display, status_interval_s)
        self._buffer: list[list[e.Recorded]] = []
        """Recorded events that are not in the journal yet, each grouped with the answers to it."""
        self._open_group: list[e.Recorded] | None = None
        self._synced_at = self._noted_at = self._complained_at = float("-inf")
        self._tidied_at = self._finalized_at = self._turned_at = float("-inf")

    # -- start and end ------------------------------------------------------------------------------------------

    def start(self, choice: ResumeChoice | None = None, num_samples: int | None = None) -> None:
        """Take the lease and restore the last driver's state from the journal.

        ``choice`` reopens trials, and ``num_samples`` changes the number of samples. Both have an effect only if the
        experiment has run before.
        """
        now = self.clock.now()
        self.lease = Lease(self.paths, now)
        try:
            self._journal = journal.Journal(self.paths.journal)  # first, so that later writes of a zombie do not count
        except BaseException:
            self.lease.release()
            raise
        try:
            self._fold(num_samples)
            self._inbox = Inbox(self.paths)
            self._runs, self._jobs = RunWatcher(self.paths), JobWatcher(self.cluster, now)
            resumed = bool(self.state.drivers)
            before = [one.event.epoch for one in self.state.drivers if isinstance(one.event, e.DriverStarted)]
            self.lease.rise_above(max(before, default=0))
            started = e.DriverStarted(self.lease.holder.epoch, socket.gethostname(), os.getpid(), VERSION)
            self._record(started)
            self._started_at, self._driven_before = now, self.state.driven_s
            if resumed:
                search = self._policies.search
                for event in reopenings(self.state, choice or ResumeChoice(), num_samples, search.total):
                    self._record(event)
                if told := outside_note(self.state, getattr(search, "outside", ())):
                    self.display.message(told)
            self._projector.start(self.state)
            self._flush()
        except BaseException:
            with contextlib.suppress(StorageError):
                self._journal.close()
            self.lease.release()
            raise

    def _fold(self, num_samples: int | None) -> None:
        """Restore state and policies from the journal."""
        wanted = num_samples if num_samples is not None else self._last_num_samples()
        self._policies: Policies = self._setup.policies(self.spec, wanted)
        self._performer = Performer(self.paths, self.state, self.cluster, self.clock, dict(self._setup.env))
        log = PolicyLog(self.paths) if getattr(self._setup.scheduler, "log_config", False) else None
        self._projector = Projector(self.paths, self.spec, self._setup.callbacks, log, self._unwritten)
        self._policies.tick(0.0)
        for recorded in journal.read(self.paths.journal):
            self.state.apply(recorded)
            self._policies.replay(recorded.event, self.state)
            self._status_publisher.take(recorded, self.state)
            self._projector.take(recorded.event, self.state)
            self._performer.take(recorded.event)
        self._performer.begin()

    def _last_num_samples(self) -> int:
        named = journal.read(self.paths.journal, naming=e.ExperimentReopened.__name__)
        reopened = [r.event for r in named if isinstance(r.event, e.ExperimentReopened)]
        return reopened[-1].num_samples if reopened else self.spec.num_samples

    def leave(self, reason: str) -> None:
        """End the driving properly: all events are durable and the lease is released. Jobs go on."""
        try:
            if self.state.ended is None:
                self._note_budget(self.clock.now())
            else:
                self._performer.sweep()
            self._record(e.DriverStopped(reason))
            self._flush()
            self.failure = self._status_publisher.publish(self.state, self.note, self.clock.now()) or self.failure
            if self.lease.held:
                self._projector.save()
        finally:
            with contextlib.ExitStack() as last:
                last.callback(self.lease.release)
                last.callback(self._journal.close)
                last.callback(self._projector.close)

    def cancel_jobs(self, reason: str, *, last_look: bool = True) -> int:
        """Cancel every job, so that its trial goes on from its checkpoint after a resume. Returns their number.

        ``last_look``: see first what they have reported. After a failure this would fail again.
        """
        while last_look:
            self._observe(self.clock.now())
            last_look = bool(self._runs.backlog)
        live = [t for t in self.state.active_trials() if t.phase.live and t.attempt is not None]
        self.cluster.cancel([t.attempt.job_id for t in live if t.attempt and t.attempt.job_id])
        if self._send_demand is not None:
            self._send_demand(NO_DEMAND)
        for trial in live:
            assert trial.attempt is not None
            self._record(e.JobEnded(trial.trial_id, trial.attempt.number, JobState.PREEMPTED, reason))
        self._verdicts()
        self._flush()
        return len(live)

    # -- one turn -----------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the experiment is over."""
        return self.state.ended is not None

    def step(self) -> float:
        """Do one turn. Returns the seconds until the next one is due (0: immediately)."""
        self._projector.begin_step()
        pause = self._turn()
        self._turned_at = self.clock.now()
        self._projector.end_step(self._turned_at)
        return pause

    def _turn(self) -> float:
        now = self.clock.now()
        before = self._count
        try:
            self.lease.heartbeat(now)
            self._observe(now)
            for _ in range(ROUNDS_A_STEP):
                decided = self._count
                self._decide(now)
                if not self._flush():
                    return self._hold(now)
                self._perform(now)
                if self._count == decided:
                    break
            self._update_demand()
            self._flush()
        except StorageError as error:
            self.failure = str(error)
            return self._hold(now)
        self.failure, self._complained_at = "", float("-inf")
        self._show(now)
        if self._count != before:
            self._idle.reset()
            if self._bell is not None:
                self._bell.answer()
        return self._pause(now)

    _count = 0

    def _pause(self, now: float) -> float:
        """Seconds until the next turn: few after changes, more if nothing happens."""
        if self._runs.backlog:
            return 0.0
        idle_s = self._idle.take(1.5)
        return max(min(idle_s, self._jobs.seconds_until_due(now)), self._idle.shortest) if self.state.live else idle_s

    @property
    def batching_window_s(self) -> float:
        """Seconds that events may accumulate before the next turn.

        0 if some worker has no prefetched trial, or if some trial will wait at a milestone.
        """
        if self._runs.backlog or not getattr(self.cluster, "all_workers_prefetched", False):
            return 0.0
        running = self.state.in_phase(Phase.QUEUED, Phase.RUNNING)
        return 0.0 if any(trial.has_open_milestone for trial in running) else GATHER_S

    def _hold(self, now: float) -> float:
        """Report that the storage cannot be written, and return the time of the next try. Nothing is lost."""
        if now - self._complained_at >= COMPLAINT_S:
            self._complained_at = now
            self.display.message(
                f"hpctune: waiting, nothing is lost: {self.failure} (trying every {STORAGE_RETRY_S:g} s)"
            )
        self._show(now)
        return STORAGE_RETRY_S

    def _observe(self, now: float) -> None:
        for command in self._inbox.read():
            for event in commands.events(command, self.state, self._policies, self._namer):
                self._record(event)
        performer = self._performer
        # At least one query: jobs of earlier drivers may take up room, or need tidying, even if no trial is live.
        worthwhile = (
            self.state.live > 0
            or performer.cleanup_pending
            or performer.jobs_of
            or self._jobs.jobs
            or self._send_demand
        )
        due = self._jobs.due(now) or self._worker_rang()
        asked = (bool(worthwhile) or not self._jobs.answered) and due and self._jobs.ask(now)
        if self._runs.look(self.state, self._record, probe=asked):
            self._jobs.expect(now)
        if asked:
            for event in list(self._jobs.state_changes(self.state)):
                self._record(event)
            self._performer.tidy(self._jobs.jobs)
        for ended in list(self._jobs.ended(self.state, now, self._exit_lag_s, self._runs.backlog)):
            self._runs.look_at(self.state, ended.trial_id, self._record, probe=True)
            stderr = self.paths.trial(self.state.trials[ended.trial_id].dirname).root / (self.spec.stderr or os.devnull)
            self._record(refine_job_end(ended, stderr))

    def _worker_rang(self) -> bool:
        """Whether a worker may have rung since the last look, because it is ready for another trial."""
        if self._bell is None or not self._bell.rung:
            return False
        self._bell.rung = False
        return self._send_demand is not None

    def _decide(self, now: float) -> None:
        driven = self._driven_s(now)
        if warning := self._budget.newly_warned(self.state, now):
            self.display.message(warning)
        if warning or now - self._noted_at >= BUDGET_NOTE_S:
            self._note_budget(now)
        over = react.budget(self.state, driven)
        if over is not None:
            self._record(over)
        if self._policies.tick(driven) and self.state.stopping is None:
            self._record(e.ExperimentStopRequested(f"stopper {type(self._setup.stopper).__name__} stopped all"))
        self._verdicts()
        self._budget.look(self.state, now)
        affords = self._budget.affords
        while not self.failure:
            admitted = react.admit_trial(self.state, self._policies, self._room, now, self._namer, affords)
            if not admitted:
                break
            for event in admitted:
                self._record(event)
                self._budget.take(event)
        used_up = self._budget.used_up(self.state, self.paths.root)
        if used_up is not None:
            self._record(used_up)
        for event in react.never_resumed(self.state, self._policies):
            self._record(event)
        if not self.state.active:
            self._check_reports()
        ended = react.finished(self.state)
        if ended is not None:
            self._note_budget(now)
            self._record(ended)

    def _note_budget(self, now: float) -> None:
        """Record the driven time, and what is held of the budget."""
        self._noted_at = now
        self._budget.look(self.state, now)
        self._record(e.BudgetUsed(round(self._driven_s(now), 3), round(self._budget.held, 6)))

    def _driven_s(self, now: float) -> float:
        return self._driven_before + now - self._started_at

    def _update_demand(self) -> None:
        """Send the demand to a cluster that grows and shrinks."""
        if self._send_demand is not None:
            demand = compute_demand(self.state, self._policies, self._setup, self._room)
            self._send_demand(self._budget.limited(demand))

    def _room(self, resources: Resources) -> int:
        if not self.state.trials:  # the resources of trials are not known yet, unless all need the same
            if callable(self._setup.resources):
                return 1
            resources = Resources.parse(self._setup.resources)
        submitting = self.state.in_phase(Phase.SUBMITTING)
        unsubmitted = sum(1 for t in submitting if t.attempt and not t.attempt.job_id)
        return self.cluster.room(resources) - unsubmitted

    def _verdicts(self) -> None:
        for event in react.resolve_attempts(self.state, self.clock.now()):
            self._record(event)
            if isinstance(event, e.TrialEnded):
                self._after_end(event.trial_id)

    def _after_end(self, trial_id: str) -> None:
        consequence = react.consequences(self.state, self.state.trials[trial_id])
        if consequence is not None:
            self._record(consequence)
        self._check_reports()
        if self.state.trials[trial_id].reason == RESTARTING:
            self._record(e.TrialReopened(trial_id, restart=True))

    def _check_reports(self) -> None:
        event = react.never_reported(self.state, str(self.paths.root))
        if event is not None:
            self._record(event)

    def _perform(self, now: float) -> None:
        may_tidy = not (self.state.live and 0 <= now - self._tidied_at < TIDY_S)
        finalize = may_tidy and self._may_finalize(now)
        actions = plan(self.state, View(now, self._jobs.jobs, self._jobs.asked_at, self._performer.published, finalize))
        awaited: list[Action] = [action for action in actions if not isinstance(action, (Finalize, DeleteCheckpoint))]
        if finalize:
            self._finalized_at = now
        if may_tidy and len(awaited) < len(actions):
            self._tidied_at = now
            self._sync()  # the events from the files that are removed now
            changed = self._tidy(actions)
        else:
            changed = self._performer.perform(awaited, self._record)
        if changed:
            self._jobs.expect(now)

    def _tidy(self, actions: Sequence[Action]) -> bool:
        """Perform the actions, among which are some that remove files. Returns whether there were any."""
        with self.copy_guard.deleting(self._checkpoints, last=not self.state.live) as may_delete:
            kept = {x for x in actions if isinstance(x, DeleteCheckpoint) and not may_delete((x.trial_id, x.name))}
            later = {x.trial_id for x in kept}  # they are finalized when these checkpoints may be deleted
            due = [x for x in actions if x not in kept and not (isinstance(x, Finalize) and x.trial_id in later)]
            changed = self._performer.perform(due, self._record)
            self._flush()
        return changed

    def _checkpoints(self) -> list[CheckpointKey]:
        return [(trial.trial_id, ref.name) for trial in self.state.trials.values() for ref in trial.checkpoints]

    def _may_finalize(self, now: float) -> bool:
        busy = self.state.live > 0 and 0 <= now - self._turned_at < RESTED_S
        lately = 0 <= now - self._finalized_at <= TIDY_WITHIN_S
        return not (busy and lately) or len(self.state.unfinalized) > UNTIDY_AT_MOST

    # -- records ------------------------------------------------------------------------------------------------

    def _record(self, event: e.Event) -> bool:
        """Record ``event``: pass it to state, policies and projections. Returns False if it is not new.

        The next flush writes it to the journal, before any action that follows from it.
        """
        if isinstance(event, e.TrialEvent) and not acceptable(self.state.trials[e.trial_id_of(event)], event):
            return False
        recorded = e.Recorded(self.clock.now(), event)
        outermost = self._open_group is None
        if self._open_group is None:
            self._open_group = []
        try:
            self._open_group.append(recorded)
            self._count += 1
            self.state.apply(recorded)
            self._status_publisher.take(recorded, self.state)
            self._performer.take(event)
            self._projector.take(event, self.state)
            for answer in self._policies.feed(event, self.state):
                self._record(answer)
        finally:
            if outermost:
                self._buffer.append(self._open_group)
                self._open_group = None
        return True

    def _unwritten(self) -> Iterator[e.Recorded]:
        """What the next flush writes to the journal."""
        return chain(*self._buffer, self._open_group or ())

    def _flush(self) -> bool:
        """Write recorded events to the journal. If that fails, set :attr:`failure` and return False."""
        try:
            if self._buffer:
                self._journal.append(self._buffer)
                self._buffer.clear()
            now = self.clock.now()
            if now - self._synced_at >= JOURNAL_SYNC_S:
                self._synced_at = now
                self._sync()
        except StorageError as error:
            self.failure = str(error)
            return False
        return True

    def _sync(self) -> None:
        self._journal.sync()
        self._performer.durable()

    # -- status -------------------------------------------------------------------------------------------------

    @property
    def note(self) -> str:
        """A description of a current problem; "" if there is none."""
        return note(self.state, self.cluster, self.failure, self._jobs.outage)

    def _show(self, now: float) -> None:
        self.failure = self._status_publisher.show(self.state, self._projector.trials, self.note, now) or self.failure
