"""What Slurm and the engine say, in words for people."""

from __future__ import annotations

from hpctune.model.trial import Phase, Trial

_REASONS = {
    "Priority": "waits for its turn (priority)",
    "Resources": "waits for free nodes",
    "BeginTime": "waits for its earliest start",
    "Dependency": "waits for another job",
    "DependencyNeverSatisfied": "waits for a job that failed: it never starts",
    "JobArrayTaskLimit": "waits: limit of its job array",
    "JobHeldUser": "held: scontrol release",
    "JobHeldAdmin": "held by an administrator",
    "Licenses": "waits for a licence",
    "Reservation": "waits for its reservation",
    "ReqNodeNotAvail": "its nodes are down or reserved",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition is inactive",
    "PartitionNodeLimit": "asks for more nodes than its partition allows",
    "PartitionTimeLimit": "asks for more time than its partition allows",
    "NodeDown": "its node is down",
    "BadConstraints": "no node has what it asks for",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its QOS is not valid",
    "AccountNotAllowed": "its account is not allowed here",
    "Cleaning": "is being requeued",
    "Prolog": "its node is being prepared",
    "None": "waits to be looked at",
}
_LIMITS = {"QOS": "its QOS", "Assoc": "its account", "Account": "its account", "MaxJobs": "the user"}
_PHASES = {
    Phase.RUNNING: "running",
    Phase.QUEUED: "queued",
    Phase.SUBMITTING: "submitting",
    Phase.PAUSED: "paused",
    Phase.PENDING: "pending",
    Phase.ERROR: "error",
    Phase.TERMINATED: "terminated",
}
PHASE_ORDER = tuple(_PHASES)
"""As they are listed: what needs the eye first."""


def phase_word(phase: Phase) -> str:
    """A phase as it stands in tables and counts."""
    return _PHASES[phase]


def reason_words(reason: str) -> str:
    """Slurm's reason for a waiting job in words; one that is not known here stays as it is."""
    code = reason.strip().strip("()").split(",")[0].strip()
    if code in _REASONS:
        return _REASONS[code]
    for prefix, whose in _LIMITS.items():
        if code.startswith(prefix) and ("Max" in code or "Grp" in code or "Limit" in code):
            return f"limit of {whose} reached ({code})"
    return reason.strip()


def situation(trial: Trial, now: float) -> str:
    """Where a trial is, or what it waits for, in a few words."""
    attempt = trial.attempt
    if trial.phase is Phase.RUNNING and attempt is not None:
        where = attempt.nodes or (f"job {attempt.job_id}" if attempt.job_id else "")
        return f"{where} (stopping)" if trial.stop is not None else f"{where} (pausing)" if trial.pause else where
    if trial.phase is Phase.QUEUED and attempt is not None:
        reason = reason_words(attempt.job_reason) if attempt.job_reason else "waits"
        return f"job {attempt.job_id}: {reason}"
    if trial.phase is Phase.SUBMITTING and attempt is not None:
        return "submission without an answer" if attempt.uncertain_since is not None else ""
    if trial.phase is Phase.PENDING and trial.reason:
        wait = trial.not_before - now
        return f"{trial.reason} (again in {duration(wait)})" if wait > 0 else trial.reason
    return trial.reason if trial.phase is Phase.PAUSED else ""


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 05 s``, ``2 h 07 min``, ``3 d 04 h``."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"
