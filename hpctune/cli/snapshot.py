"""The state of an experiment at one moment, for ``hpctune status``: read without a lock, changing nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpctune.analysis.followed import FollowedExperiment, Reading
from hpctune.common.text import quoted
from hpctune.core.state import ExperimentState
from hpctune.driver import status_file
from hpctune.mirror import status as mirror_status
from hpctune.mirror.status import MirrorStatus
from hpctune.model import events as e
from hpctune.model.jobs import JobState
from hpctune.model.ranking import best_trial
from hpctune.model.rows import flatten
from hpctune.model.trial import Phase, Trial
from hpctune.output.display.slurm_reasons import explain
from hpctune.output.display.words import PHASE_ORDER, phase_word
from hpctune.storage import driver_jobs as driverjobs, free_space, lease
from hpctune.storage.driver_jobs import DriverJob
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.lease import Holder


@dataclass(frozen=True, slots=True)
class Driving:
    """The driver's state. ``word``: new, running, stopping, finished, left, gone (killed), or unknown (this host cannot
    tell). ``text``: the same in full. ``resume``: the command that continues, if one is needed."""

    word: str
    text: str
    holder: Holder | None = None
    alive: bool | None = False
    silent_s: float | None = None
    resume: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is shown; ``now`` (Unix seconds) is the moment. ``jobs``: the driver jobs, if there are any.
    ``storage``: why trials may be unable to write there, "" if no obstacle is known. ``free_bytes``: what the
    filesystem has left, if known. ``mirror``: of its copy elsewhere, if there is one.
    ``cost``: the hours that its jobs have held by its own records, and what for; "" if none did."""

    paths: ExperimentPaths
    state: ExperimentState
    driving: Driving
    status: status_file.DriverStatus | None
    best: Trial | None
    now: float
    jobs: DriverJobs | None = None
    storage: str = ""
    free_bytes: int | None = None
    mirror: MirrorStatus | None = None
    cost: str = ""

    def in_phase(self, *phases: Phase) -> list[Trial]:
        """The trials in one of ``phases``, in order."""
        return [t for t in self.state.trials.values() if t.phase in phases]


def take(followed: FollowedExperiment, now: float) -> Snapshot:
    """Read the experiment. ``now``: Unix seconds. A lease of a driver on another host that looks old is watched for a
    few seconds, because that host's clock may be wrong."""
    paths, read = followed.paths, followed.read()
    state = read.view.state
    seen = driving(paths, state, now, patience_s=lease.PATIENCE_S)
    jobs = driver_jobs(paths, seen)
    return Snapshot(
        paths,
        state,
        seen,
        status_file.read(paths),
        _best(state),
        now,
        jobs,
        free_space.storage_problem(paths.root),
        free_space.free_bytes(paths.root),
        mirror_status.read(paths),
        _cost(read),
    )


def _cost(read: Reading) -> str:
    """What was held, in words. The modules are loaded here: other commands use this module, too."""
    from hpctune.analysis.cost.accounts import OWN_RECORDS
    from hpctune.analysis.cost.ledger import ledger_from
    from hpctune.analysis.cost.tables import summary

    return summary(ledger_from(read, OWN_RECORDS))


@dataclass(frozen=True, slots=True)
class DriverJobs:
    """Driver jobs: the one that drives (or waits to), the queued successors, and the one that started last."""

    running: DriverJob | None
    waiting: tuple[DriverJob, ...]
    last: DriverJob | None


def driver_jobs(paths: ExperimentPaths, seen: Driving) -> DriverJobs | None:
    """The recorded driver jobs; None if there never was one. Slurm is not queried."""
    noted = driverjobs.read(paths)
    if not noted:
        return None
    started = [job for job in noted if job.started_at is not None]
    last = started[-1] if started else None
    driving_job = seen.holder.job if seen.alive is not False and seen.holder is not None else ""
    running = next((job for job in started if job.job_id == driving_job), None)
    return DriverJobs(running, tuple(job for job in noted if job.started_at is None), last)


@dataclass(frozen=True, slots=True)
class DriverSeen:
    """The last driver. ``alive`` None: this host cannot tell. ``silent_s``: seconds since its lease changed."""

    holder: Holder | None
    alive: bool | None
    silent_s: float


def driver_of(paths: ExperimentPaths, now: float, patience_s: float = 0.0) -> DriverSeen:
    """The last driver, as far as this host can tell. A lease that is being replaced is read again. An old lease of
    another host is watched for ``patience_s`` seconds."""
    for _ in range(3):
        try:
            holder = lease.read(paths)
            if holder is None:
                break
            mtime = paths.lease.stat().st_mtime
            alive = lease.alive(holder, now=now, mtime=mtime)
            if alive is None and patience_s and lease.changes(paths, holder, patience_s):
                alive = True
            return DriverSeen(holder, alive, max(now - mtime, 0.0))
        except FileNotFoundError:
            continue
    return DriverSeen(None, False, 0.0)


def driving(paths: ExperimentPaths, state: ExperimentState, now: float, patience_s: float = 0.0) -> Driving:
    """The driver's state and what it means. ``patience_s``: see :func:`driver_of`."""
    seen = driver_of(paths, now, patience_s)
    holder, alive, silent_s = seen.holder, seen.alive, seen.silent_s
    if state.ended is not None:
        return Driving("finished", f"finished: {state.ended}", holder, alive, silent_s, _errored(paths, state))
    resume = f"hpctune resume {quoted(paths.root)}"
    jobs = "" if state.spec.cluster == "debug" or not state.live else "; jobs go on"
    if holder is None:
        return Driving("new", "not driven yet", None, False, None, resume)
    who = holder.place
    if alive:
        doing = f"stopping ({state.stopping.reason})" if state.stopping is not None else "running"
        text = f"{doing}: driver is {holder.describe()}"
        return Driving(doing.split()[0], text, holder, True, silent_s)
    if holder.released:
        text = f"left: {_last_words(state) or 'its driver is gone'} ({who}){jobs}"
        return Driving("left", text, holder, False, silent_s, resume)
    if alive is None:
        text = f"unknown: driver was {who}; no sign of life for {int(silent_s)} s"
        return Driving("unknown", text, holder, None, silent_s, resume)
    return Driving("gone", f"driver gone: {who} was killed or crashed{jobs}", holder, False, silent_s, resume)


def _errored(paths: ExperimentPaths, state: ExperimentState) -> str | None:
    return f"hpctune resume {quoted(paths.root)} --errored" if state.phases[Phase.ERROR] else None


def _last_words(state: ExperimentState) -> str:
    last = state.drivers[-1].event if state.drivers else None
    return f"driver was {last.reason}" if isinstance(last, e.DriverStopped) else ""


def what_varied(trial: Trial) -> Mapping[str, Any]:
    """The trial's config, short: the parameters that varied, or all of them if none varied."""
    return trial.varied or flatten(trial.shown_config)


def waiting_reason(trial: Trial) -> str:
    """Why the trial has no running job: the cluster's reason, explained if possible."""
    attempt = trial.attempt
    if trial.phase is Phase.PAUSED:
        return trial.reason or "paused by the scheduler"
    if trial.phase is Phase.SUBMITTING:
        if attempt is not None and attempt.uncertain_since is not None:
            return f"no answer to its submission yet: {attempt.reason or 'looking for its job'}"
        return "being submitted"
    if attempt is None or not attempt.job_reason:
        return trial.reason or ("not submitted yet" if attempt is None else "no reason given yet")
    words = explain(attempt.job_reason)
    return f"{attempt.job_reason}: {words}" if words else attempt.job_reason


def waiting_groups(trials: list[Trial]) -> list[tuple[str, list[Trial]]]:
    """Waiting trials by reason, the most frequent reason first."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(waiting_reason(trial), []).append(trial)
    return sorted(groups.items(), key=lambda item: -len(item[1]))


def counts(state: ExperimentState) -> dict[str, int]:
    """How many trials are in each phase."""
    return {phase_word(phase): state.phases[phase] for phase in PHASE_ORDER}


def suspended(trial: Trial) -> bool:
    """Whether the cluster has suspended the trial's job."""
    return trial.attempt is not None and trial.attempt.job_state is JobState.SUSPENDED


def _best(state: ExperimentState) -> Trial | None:
    found = best_trial(state.trials.values(), state.spec.metric, state.spec.mode)
    return found[1] if found is not None else None
