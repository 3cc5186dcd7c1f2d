"""A checkpoint that a trial has taken over is kept for it, also when the trial is over: it may be reopened."""

from __future__ import annotations

from hpctune.model import actions as a, events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.trial import Phase
from tests.unit.core.test_exploit import BETTER, Scripted, Two

DELETED = a.DeleteCheckpoint("t1", "c8")


def taken_over() -> Two:
    """t0 has taken c8 of t1 over, and its next attempt was cancelled before it ran; t1 has a newer checkpoint."""
    two = Two(Scripted(BETTER))
    two.settle(two.row("t0", 2, 3))
    two.settle(e.JobEnded("t0", 1, JobState.NODE_FAIL, ""))
    two.verdicts()
    [two.settle(event) for event in two.admit()]
    two.settle(e.SubmitAcknowledged("t0", 2, "80"))
    two.settle(e.JobEnded("t0", 2, JobState.CANCELLED, ""))
    two.verdicts()
    two.settle(e.TrialFinalized("t0"))
    assert (two.first.phase, two.first.finalized) == (Phase.ERROR, True)
    two.take(two.row("t1", 3, 10, "c10"))
    return two


def test_it_is_kept_while_the_trial_may_be_reopened() -> None:
    two = taken_over()
    assert DELETED not in two.actions()
    two.settle(e.TrialReopened("t0", restart=False))
    assert DELETED not in two.actions()
    [two.settle(event) for event in two.admit()]
    assert two.first.attempt is not None
    assert two.first.attempt.restore == "dir1/c8"
    two.settle(e.SubmitAcknowledged("t0", 3, "81"))
    two.settle(e.RunStarted(RunKey("t0", 3, 0), "81", "n1", 1))
    assert DELETED not in two.actions(), "a requeued run starts there again"


def test_it_goes_when_the_trial_starts_from_scratch() -> None:
    two = taken_over()
    two.settle(e.TrialReopened("t0", restart=True))
    assert DELETED in two.actions()
