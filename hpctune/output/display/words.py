"""Messages of Slurm and the engine in words for users."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hpctune.common.text import count, duration, number
from hpctune.model.progress import stopped_early
from hpctune.model.ranking import Objectives, best_trial
from hpctune.model.trial import Phase, Trial, VacateReason
from hpctune.output.display.slurm_reasons import explain

_PHASES = {
    Phase.RUNNING: "running",
    Phase.QUEUED: "queued",
    Phase.SUBMITTING: "submitting",
    Phase.PAUSED: "paused",
    Phase.PENDING: "pending",
    Phase.ERROR: "error",
    Phase.TERMINATED: "terminated",
}
_LEAVES = {VacateReason.PAUSE: "pausing", VacateReason.MOVE: "moving", VacateReason.REPLACE: "exploiting"}
COMPLETED, STOPPED_EARLY = "completed", "stopped early"
PHASE_ORDER = tuple(_PHASES)
"""As they are listed: what needs the eye first."""
STATE_WORDS = (*(_PHASES[phase] for phase in PHASE_ORDER if phase is not Phase.TERMINATED), COMPLETED, STOPPED_EARLY)
_PHASE_OF = {word: phase for phase, word in _PHASES.items()}


def phase_word(phase: Phase) -> str:
    """A phase as it stands in tables and counts."""
    return _PHASES[phase]


def state_word(trial: Trial) -> str:
    """How a trial stands, as tables say it: its phase, and of a finished one how it ended."""
    if trial.phase is not Phase.TERMINATED:
        return phase_word(trial.phase)
    return STOPPED_EARLY if stopped_early(trial) else COMPLETED


def state_counts(trials: Iterable[Trial], counts: Mapping[Phase, int]) -> dict[str, int]:
    """How many of ``trials`` have each state word. ``counts``: how many are in each phase."""
    early = sum(map(stopped_early, trials))
    ended = {COMPLETED: counts[Phase.TERMINATED] - early, STOPPED_EARLY: early}
    return {word: ended[word] if word in ended else counts[_PHASE_OF[word]] for word in STATE_WORDS}


def amounts(counts: Mapping[str, int]) -> str:
    """``3 running, 2 queued, 45 completed``."""
    return ", ".join(f"{amount:,} {word}" for word, amount in counts.items() if amount) or "none"


def situation(trial: Trial, now: float) -> str:
    """The state of a trial, or what it waits for, in a few words."""
    attempt = trial.attempt
    if trial.phase is Phase.RUNNING and attempt is not None:
        where = attempt.nodes or (f"job {attempt.job_id}" if attempt.job_id else "")
        ending = "stopping" if trial.stop is not None else _LEAVES[trial.leave] if trial.leave is not None else ""
        return f"{where} ({ending})" if ending else where
    if trial.phase is Phase.QUEUED and attempt is not None:
        return f"job {attempt.job_id}: {explain(attempt.job_reason) or attempt.job_reason or 'waits'}"
    if trial.phase is Phase.SUBMITTING and attempt is not None:
        return "submission without an answer" if attempt.uncertain_since is not None else ""
    if trial.phase is Phase.PENDING and trial.reason:
        wait = trial.not_before - now
        return f"{trial.reason} (again in {duration(wait, exact=True)})" if wait > 0 else trial.reason
    return trial.reason if trial.phase is Phase.PAUSED else ""


def front_words(front: Sequence[Trial], objectives: Objectives) -> str:
    """The Pareto front in one line: how many trials, and the best value of each metric with its trial."""
    if not front:
        return "no trial has reported every metric yet"
    best = [(name, best_trial(front, name, mode)) for name, mode in objectives]
    values = [f"{name}={number(found[0])} by {found[1].trial_id}" for name, found in best if found is not None]
    return f"{count(len(front), 'trial')} on the Pareto front; {', '.join(values)}"
