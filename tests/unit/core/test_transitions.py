"""Every kind of event in every phase: taken or not, and what the trial is afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from hpctune.core.change import changed
from hpctune.core.evolve import add, evolve, iteration_of
from hpctune.core.transitions import LEGAL, acceptable, as_event, classify_row
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import Claim, ErrorInfo, Exit, Outcome, ResultRow
from hpctune.model.resources import Resources
from hpctune.model.spec import CheckpointPolicy
from hpctune.model.trial import Attempt, CheckpointRef, Phase, Trial, VacateReason

RUN = RunKey("t", 1, 0)
CHECKPOINT = CheckpointRef("checkpoint_000002", 2)
ADDED = e.TrialAdded("t", 0, "trial_t", "trial_t_dir", "0", {"x": 1}, {"x": 1}, Resources())
P, S, Q, R, W, T, E = (
    Phase.PENDING, Phase.SUBMITTING, Phase.QUEUED, Phase.RUNNING, Phase.PAUSED, Phase.TERMINATED, Phase.ERROR,
)  # fmt: skip


def trial_in(phase: Phase, **changes: Any) -> Trial:
    """A trial as it is in ``phase`` when nothing special has happened."""
    trial = changed(add(ADDED, 1.0), phase=phase, checkpoints=(CHECKPOINT,), last_iteration=2, results=2)
    if phase.live:
        attempt = Attempt(1, 2.0, job_id=None if phase is S else "7", restart=0 if phase is R else -1)
        trial = changed(trial, attempt=attempt, attempts=1)
    return changed(trial, **changes)


EVENTS: dict[type[e.TrialEvent], tuple[e.TrialEvent, set[Phase]]] = {
    e.SubmitRequested: (e.SubmitRequested("t", 1), {P}),
    e.SubmitAcknowledged: (e.SubmitAcknowledged("t", 1, "8"), {S, Q, R}),
    e.SubmitRefused: (e.SubmitRefused("t", 1, "full", False, 9.0), {S}),
    e.SubmitUnanswered: (e.SubmitUnanswered("t", 1, "timed out"), {S}),
    e.AttemptRevoked: (e.AttemptRevoked("t", 1, "stop"), {S, Q}),
    e.JobChanged: (e.JobChanged("t", 1, "7", JobState.RUNNING), {S, Q, R}),
    e.JobEnded: (e.JobEnded("t", 1, JobState.TIMEOUT), {S, Q, R}),
    e.RunGivenUp: (e.RunGivenUp("t", 1, ErrorInfo("NoReport", "silent")), {R}),
    e.RunStarted: (e.RunStarted(RunKey("t", 1, 1), "7", "node1", 4), {S, Q, R}),
    e.ResultReported: (e.ResultReported(RUN, 1, {"training_iteration": 3}), {R}),
    e.RunEnded: (e.RunEnded(RUN, Outcome.COMPLETED, "returned"), {R}),
    e.StopRequested: (e.StopRequested("t", "stop"), {P, S, Q, R, W}),
    e.PauseRequested: (e.PauseRequested("t", "pause"), {P, S, Q, R}),
    e.ExploitRequested: (e.ExploitRequested("t", "d", "dir/c", 5, {"x": 2}, {"x": 2}, "worse", "0"), {P, S, Q, R, W}),
    e.ResourcesChanged: (e.ResourcesChanged("t", Resources(), "more"), {P, S, Q, R, W}),
    e.MilestoneSet: (e.MilestoneSet("t", 4.0), {P, S, Q, R, W}),
    e.MilestoneAnswered: (e.MilestoneAnswered("t", 4.0), {P, S, Q, R, W}),
    e.RetryScheduled: (e.RetryScheduled("t", "again", False), set()),  # only when the attempt is over: see below
    e.TrialPaused: (e.TrialPaused("t"), {P, S, Q, R}),
    e.TrialResumed: (e.TrialResumed("t"), {W}),
    e.TrialEnded: (e.TrialEnded("t", T, "done"), {P, S, Q, R, W}),
    e.TrialFinalized: (e.TrialFinalized("t"), {T, E}),
    e.TrialReopened: (e.TrialReopened("t", False), {T, E}),
    e.CheckpointDeleted: (e.CheckpointDeleted("t", CHECKPOINT.name), set(Phase)),
}
AFTER: dict[tuple[type[e.TrialEvent], Phase], Phase] = {
    (e.SubmitRequested, P): S,
    (e.SubmitAcknowledged, S): Q,
    (e.SubmitRefused, S): P,
    (e.AttemptRevoked, S): P,
    (e.AttemptRevoked, Q): P,
    (e.JobChanged, S): Q,
    (e.RunStarted, S): R,
    (e.RunStarted, Q): R,
    **{(e.TrialPaused, phase): W for phase in (P, S, Q, R)},
    (e.TrialResumed, W): P,
    **{(e.TrialEnded, phase): T for phase in (P, S, Q, R, W)},
    (e.TrialReopened, T): P,
    (e.TrialReopened, E): P,
}
"""The phase afterwards, where it is another."""


def test_the_table_knows_every_event() -> None:
    assert set(EVENTS) == set(get_args(e.TrialEvent)) == set(LEGAL)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_in_every_phase(kind: type[e.TrialEvent], phase: Phase) -> None:
    event, legal = EVENTS[kind]
    trial = trial_in(phase)
    assert acceptable(trial, event) is (phase in legal)
    if phase in legal:
        assert evolve(trial, event, 10.0).phase is AFTER.get((kind, phase), phase)


@pytest.mark.parametrize("phase", [S, Q, R])
def test_once_an_attempt_is_over_nothing_more_of_it_is_taken(phase: Phase) -> None:
    for over in ({"outcome": Outcome.FAILED}, {"ended": JobState.TIMEOUT}):
        trial = trial_in(phase)
        assert trial.attempt is not None
        trial = changed(trial, attempt=changed(trial.attempt, restart=0, **over))
        for kind in (
            e.SubmitAcknowledged, e.SubmitRefused, e.SubmitUnanswered, e.AttemptRevoked, e.JobChanged, e.JobEnded,
            e.RunStarted, e.ResultReported, e.RunEnded,
        ):  # fmt: skip
            assert not acceptable(trial, EVENTS[kind][0]), kind
        assert acceptable(trial, EVENTS[e.RetryScheduled][0])
        assert evolve(trial, EVENTS[e.RetryScheduled][0], 10.0).phase is P


def test_fencing() -> None:
    trial = trial_in(R)
    assert trial.attempt is not None
    trial = changed(trial, attempt=changed(trial.attempt, restart=1, seq=4))
    holds = RunKey("t", 1, 1)
    assert not acceptable(trial, e.ResultReported(holds, 4, {}))
    assert acceptable(trial, e.ResultReported(holds, 5, {}))
    for other in (RUN, RunKey("t", 1, 2), RunKey("t", 2, 1), RunKey("t", 0, 1)):
        assert not acceptable(trial, e.ResultReported(other, 9, {})), other
        assert not acceptable(trial, e.RunEnded(other, Outcome.COMPLETED, "")), other
    assert not acceptable(trial, e.RunStarted(RunKey("t", 1, 1), "7", "n", 1))
    assert acceptable(trial, e.RunStarted(RunKey("t", 1, 2), "7", "n", 1))
    assert not acceptable(trial, e.RunStarted(RunKey("t", 2, 2), "7", "n", 1))
    for number in (0, 2):
        assert not acceptable(trial, e.JobEnded("t", number, JobState.FAILED))
        assert not acceptable(trial, e.JobChanged("t", number, "7", JobState.RUNNING))
    assert not acceptable(trial, e.SubmitAcknowledged("t", 1, "7")), "it is known already"
    assert not acceptable(trial_in(P, attempts=3), e.SubmitRequested("t", 3))
    assert acceptable(trial_in(P, attempts=3), e.SubmitRequested("t", 4))


def test_nothing_is_asked_for_twice() -> None:
    assert not acceptable(trial_in(R, stop="a"), e.StopRequested("t", "b"))
    assert not acceptable(trial_in(R, leave=VacateReason.PAUSE), e.PauseRequested("t", "b"))
    assert not acceptable(trial_in(T, finalized=True), e.TrialFinalized("t"))
    assert not acceptable(trial_in(R, checkpoints=()), e.CheckpointDeleted("t", CHECKPOINT.name))


def test_a_requeued_job_waits_again_and_its_last_words_still_count() -> None:
    trial = evolve(trial_in(R), e.JobChanged("t", 1, "7", JobState.PENDING), 10.0)
    assert trial.phase is Q
    assert acceptable(trial, e.ResultReported(RUN, 1, {"training_iteration": 3}))
    assert acceptable(trial, e.RunEnded(RUN, Outcome.INTERRUPTED, "SIGTERM"))
    assert evolve(trial, e.RunStarted(RunKey("t", 1, 1), "7", "n2", 5), 11.0).phase is R


# -- what evolve remembers ------------------------------------------------------------------------------------------


def test_a_life() -> None:
    trial = add(ADDED, 1.0)
    assert (trial.phase, trial.added_at, trial.run) == (P, 1.0, None)
    trial = evolve(trial, e.SubmitRequested("t", 1, "elsewhere/checkpoint_000001"), 2.0)
    assert trial.attempt == Attempt(1, 2.0, "elsewhere/checkpoint_000001")
    trial = evolve(trial, e.SubmitUnanswered("t", 1, "timed out"), 3.0)
    assert trial.attempt is not None
    assert trial.attempt.uncertain_since == 3.0
    trial = evolve(trial, e.SubmitAcknowledged("t", 1, "7"), 4.0)
    assert trial.attempt is not None
    assert (trial.phase, trial.attempt.job_id, trial.attempt.uncertain_since) == (Q, "7", None)
    trial = evolve(trial, e.RunStarted(RUN, "7", "n1", 3), 5.0)
    assert (trial.phase, trial.started_at, trial.run) == (R, 5.0, RUN)
    assert trial.attempt is not None
    assert trial.attempt.nodes == "n1"
    trial = evolve(trial, e.ResultReported(RUN, 1, {"training_iteration": 1, "loss": 2.0}), 6.0, "loss")
    assert (trial.results, trial.last_iteration, trial.seen_metric, trial.last["loss"]) == (1, 1, True, 2.0)
    repeated = e.ResultReported(RUN, 2, {"training_iteration": 1, "loss": 9}, e.Verdict.REPEATED, CHECKPOINT)
    trial = evolve(trial, repeated, 7.0, "loss")
    assert (trial.results, trial.last["loss"], trial.checkpoints) == (1, 2.0, (replace(CHECKPOINT, metric=9.0),))
    trial = evolve(trial, e.ResultReported(RUN, 3, {"training_iteration": 2}, e.Verdict.OVERRUN), 8.0, "loss")
    assert (trial.results, trial.overruns, trial.attempt and trial.attempt.seq) == (1, 1, 3)
    trial = evolve(trial, e.RunEnded(RUN, Outcome.FAILED, "raised", ErrorInfo("E", "m")), 9.0)
    trial = evolve(trial, e.RetryScheduled("t", "E: m", True, 40.0), 10.0)
    assert (trial.phase, trial.failures, trial.not_before, trial.released_at) == (P, 1, 40.0, 10.0)
    assert trial.error == ErrorInfo("E", "m")
    trial = evolve(trial, e.TrialEnded("t", E, "E: m", ErrorInfo("E", "m")), 11.0)
    assert (trial.phase, trial.ended_at, trial.attempt) == (E, 11.0, None)
    trial = evolve(trial, e.TrialFinalized("t"), 12.0)
    again = evolve(trial, e.TrialReopened("t", False), 13.0)
    assert (again.phase, again.finalized, again.failures, again.results, again.error) == (P, False, 0, 1, None)
    fresh = evolve(trial, e.TrialReopened("t", True), 13.0)
    assert (fresh.results, fresh.last, fresh.checkpoints, fresh.last_iteration, fresh.attempts) == (0, {}, (), 0, 1)


def test_a_refused_submission_uses_its_number_again() -> None:
    trial = evolve(trial_in(S), e.SubmitRefused("t", 1, "full", False, 50.0), 10.0)
    assert (trial.attempts, trial.attempt, trial.not_before) == (0, None, 50.0)
    assert acceptable(trial, e.SubmitRequested("t", 1))


def test_interruptions_count_only_without_progress() -> None:
    trial = trial_in(R)
    assert trial.attempt is not None
    over = changed(trial, attempt=changed(trial.attempt, ended=JobState.TIMEOUT, base_results=2), interruptions=3)
    assert evolve(over, e.RetryScheduled("t", "", False), 1.0).interruptions == 4
    assert evolve(over, e.RetryScheduled("t", "", True), 1.0).interruptions == 0
    assert evolve(changed(over, results=3), e.RetryScheduled("t", "", False), 1.0).interruptions == 0


def test_a_checkpoint_of_the_same_name_is_replaced_and_becomes_the_newest() -> None:
    trial = trial_in(R, checkpoints=(CheckpointRef("a", 1), CheckpointRef("b", 2)))
    trial = evolve(trial, e.RunEnded(RUN, Outcome.COMPLETED, "", None, CheckpointRef("a", 3)), 1.0)
    assert trial.checkpoints == (CheckpointRef("b", 2), CheckpointRef("a", 3))
    assert trial.newest_checkpoint == CheckpointRef("a", 3)


@pytest.mark.parametrize(
    ("said", "means"),
    [(3, 3), (3.0, 3), (None, 9), ("7", 9), (2.5, 9), (float("nan"), 9), (float("inf"), 9), (True, 9), ([], 9)],
)
def test_the_iteration_of_a_row(said: object, means: int) -> None:
    assert iteration_of({"training_iteration": said}, 9) == means
    assert iteration_of({}, 9) == 9
    row = ResultRow(RUN, 1, {"training_iteration": said})
    assert evolve(trial_in(R), classify_row(trial_in(R), row, CheckpointPolicy()), 1.0).last_iteration in (2, 3)


def test_changed_is_replace() -> None:
    trial = trial_in(R)
    assert changed(trial, results=9, stop="x") == replace(trial, results=9, stop="x")
    assert changed(trial) == trial
    assert trial.attempt is not None
    assert changed(trial.attempt, seq=3) == replace(trial.attempt, seq=3)
    with pytest.raises(TypeError, match="Trial has no reslts"):
        changed(trial, reslts=1)


# -- rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iteration", "changes", "verdict"),
    [
        (3, {}, e.Verdict.COUNTED),
        (2, {}, e.Verdict.REPEATED),
        (1, {"stop": "x"}, e.Verdict.REPEATED),
        (3, {"stop": "x"}, e.Verdict.OVERRUN),
        (3, {"leave": VacateReason.PAUSE}, e.Verdict.COUNTED),
        (5, {}, e.Verdict.COUNTED),
    ],
)
def test_verdicts_on_rows(iteration: int, changes: dict[str, Any], verdict: e.Verdict) -> None:
    row = ResultRow(RUN, 1, {"training_iteration": iteration}, "checkpoint_x")
    event = classify_row(trial_in(R, **changes), row, CheckpointPolicy())
    assert event.verdict is verdict
    assert event.checkpoint == CheckpointRef("checkpoint_x", iteration)


def test_the_score_of_a_checkpoint() -> None:
    policy = CheckpointPolicy(keep=1, score_attribute="eval/acc")
    row = ResultRow(RUN, 1, {"training_iteration": 3, "eval": {"acc": 0.5}}, "c")
    assert classify_row(trial_in(R), row, policy).checkpoint == CheckpointRef("c", 3, 0.5)
    bare = ResultRow(RUN, 1, {"training_iteration": 3}, "c")
    assert classify_row(trial_in(R), bare, policy).checkpoint == CheckpointRef("c", 3, None)


def test_records_of_runs_as_facts() -> None:
    policy = CheckpointPolicy()
    claim = Claim(RunKey("t", 1, 1), "7", "n", 3, 1.0, "n[1-2]")
    assert as_event(trial_in(R), claim, policy) == e.RunStarted(RunKey("t", 1, 1), "7", "n", 3, "n[1-2]", 1.0)
    assert not acceptable(trial_in(T), as_event(trial_in(T), claim, policy))
    end = Exit(RUN, Outcome.PAUSED, "told to", 2.0, None, "checkpoint_x", 4)
    expected = e.RunEnded(RUN, Outcome.PAUSED, "told to", None, CheckpointRef("checkpoint_x", 4), 2.0)
    assert as_event(trial_in(R), end, policy) == expected
    late = Exit(RunKey("t", 1, 3), Outcome.PAUSED, "", 2.0)
    assert not acceptable(trial_in(R), as_event(trial_in(R), late, policy))
