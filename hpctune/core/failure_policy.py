"""Rules for failures other than a new attempt: larger requests, detection of hangs, the end of the experiment."""

from __future__ import annotations

import re

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.failure_policy import MAX_GROWTHS, FailurePolicy
from hpctune.model.records import ErrorInfo
from hpctune.model.trial import Phase, Trial

_FRAME = re.compile(r'^\s*File "(.+)", line (\d+)', re.MULTILINE)


def grow_request(
    trial: Trial, policy: FailurePolicy, *, memory: bool = False, time: bool = False
) -> e.ResourcesChanged | None:
    """A larger request for a trial that had too little memory or time; None if it may not grow (any more)."""
    now = trial.resources
    if trial.stop is not None or trial.growths >= MAX_GROWTHS:
        return None
    if memory and policy.grow_memory is not None and now.memory_bytes is not None:
        return e.ResourcesChanged(trial.trial_id, now.grown(memory=policy.grow_memory), "it ran out of memory", True)
    if time and policy.grow_time is not None:
        return e.ResourcesChanged(trial.trial_id, now.grown(time=policy.grow_time), "it ran out of time", True)
    return None


def detect_hang(trial: Trial, policy: FailurePolicy, now: float) -> e.RunGivenUp | None:
    """The event for a run that has not reported for ``report_timeout_s``; None if there is no hang."""
    attempt, limit = trial.attempt, policy.report_timeout_s
    if limit is None or trial.phase is not Phase.RUNNING or attempt is None or attempt.over or attempt.heard_at is None:
        return None
    silent = now - attempt.heard_at
    if silent <= limit:
        return None
    where = f"job {attempt.job_id}" + (f" on {attempt.nodes}" if attempt.nodes else "")
    message = f"{where} has not reported for {silent:.0f} s; report_timeout_s is {limit:g}"
    return e.RunGivenUp(trial.trial_id, attempt.number, ErrorInfo("NoReport", message))


def early_stop_reason(state: ExperimentState, ended: Trial) -> str | None:
    """Why the experiment must stop now that ``ended`` has failed, before more trials fail; None if it goes on."""
    policy = state.spec.failure_policy
    if policy.canary and not state.reported:
        return f"the canary trial {ended.name} failed before it had reported: {ended.error}"
    limit = policy.same_error_limit
    if limit is None or state.phases[Phase.TERMINATED] or state.phases[Phase.ERROR] < limit:
        return None
    failed = [t for t in state.trials.values() if t.phase is Phase.ERROR]
    if len({_signature(t.error) for t in failed}) > 1:
        return None
    return f"the first {len(failed)} trials have all failed with the same error: {ended.error}"


def canary_pending(state: ExperimentState) -> bool:
    """Whether no other trial may start, because the canary has not reported yet."""
    return state.spec.failure_policy.canary and not state.reported and state.live > 0


def _signature(error: ErrorInfo | None) -> tuple[str, ...]:
    """A key by which errors are compared. The messages do not matter, because they may contain different values."""
    if error is None:
        return ()
    frames = _FRAME.findall(error.traceback)
    return (error.kind, *frames[-1]) if frames else (error.kind,)
