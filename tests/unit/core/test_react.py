"""What becomes of trials (judge), of the experiment, and who gets the next job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpctune.core import react
from hpctune.core.change import changed
from hpctune.core.evolve import add, evolve
from hpctune.core.policies import Policies
from hpctune.core.state import ExperimentState
from hpctune.core.transitions import acceptable
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Attempt, CheckpointRef, Phase, Trial, VacateReason
from hpctune.schedulers.base import FIFOScheduler
from hpctune.search.base import EXHAUSTED, WAIT, Suggestion

SPEC = ExperimentSpec("abcde123", "exp", 0.0, "f")
ERROR = ErrorInfo("ValueError", "bad")


def added(index: int = 0) -> e.TrialAdded:
    return e.TrialAdded(f"t{index}", index, f"trial{index}", f"dir{index}", str(index), {}, {}, Resources())


def trial(**changes: Any) -> Trial:
    attempt = changes.pop("attempt", None)
    over = Attempt(1, 1.0, job_id="7", restart=0, **attempt) if attempt is not None else None
    phase = Phase.RUNNING if over is not None else Phase.PENDING
    return changed(add(added(), 0.0), **{"phase": phase, "attempt": over, "attempts": 1, **changes})


def kind(event: e.TrialEvent | None) -> str:
    """The event in a word."""
    match event:
        case None:
            return "-"
        case e.TrialEnded():
            return event.phase.value + (f" {event.error.kind}" if event.error else "")
        case e.RetryScheduled():
            return "retry, a failure" if event.counts else "retry"
        case e.TrialPaused():
            return "paused"
        case _:
            return type(event).__name__


OUTCOMES = {
    # outcome: (nothing asked, told to stop, to pause, to move, to take over another trial's checkpoint)
    Outcome.COMPLETED: ("TERMINATED", "TERMINATED", "TERMINATED", "TERMINATED", "retry"),
    Outcome.STOPPED: ("TERMINATED", "TERMINATED", "TERMINATED", "TERMINATED", "retry"),
    Outcome.PAUSED: ("paused", "TERMINATED", "paused", "retry", "retry"),
    Outcome.INTERRUPTED: ("retry", "TERMINATED", "retry", "retry", "retry"),
    Outcome.REPLACED: ("retry", "TERMINATED", "retry", "retry", "retry"),
    Outcome.REVOKED: ("retry", "TERMINATED", "retry", "retry", "retry"),
    Outcome.FAILED: ("ERROR ValueError",) * 4 + ("retry",),
}
FAILURES = {
    # (max_failures, failures so far): what a failure leads to
    (0, 0): "ERROR ValueError",
    (2, 0): "retry, a failure",
    (2, 1): "retry, a failure",
    (2, 2): "ERROR ValueError",
    (-1, 1000): "retry, a failure",
}
JOBS = {
    # the job's end without an exit record: (nothing asked, told to stop, with max_failures=1)
    JobState.TIMEOUT: ("retry", "TERMINATED", "retry"),
    JobState.NODE_FAIL: ("retry", "TERMINATED", "retry"),
    JobState.PREEMPTED: ("retry", "TERMINATED", "retry"),
    JobState.LOST: ("retry", "TERMINATED", "retry"),
    JobState.CANCELLED: ("ERROR JobCancelled", "TERMINATED", "ERROR JobCancelled"),
    JobState.OUT_OF_MEMORY: ("ERROR OutOfMemory", "TERMINATED", "retry, a failure"),
    JobState.FAILED: ("ERROR JobFailed", "TERMINATED", "retry, a failure"),
    JobState.COMPLETED: ("ERROR JobFailed", "TERMINATED", "retry, a failure"),
}


def test_the_tables_are_complete() -> None:
    assert set(OUTCOMES) == set(Outcome)
    assert set(JOBS) == {state for state in JobState if state.final}


@pytest.mark.parametrize("outcome", Outcome)
def test_what_a_run_says_of_its_end(outcome: Outcome) -> None:
    attempt = {"outcome": outcome, "reason": "why", "error": ERROR if outcome is Outcome.FAILED else None}
    asked = [{}, {"stop": "enough"}, *({"leave": leave} for leave in VacateReason)]
    assert tuple(kind(react.resolve_attempt(trial(attempt=attempt, **a), SPEC)) for a in asked) == OUTCOMES[outcome]


@pytest.mark.parametrize(("limit", "failures"), FAILURES)
def test_max_failures(limit: int, failures: int) -> None:
    spec = replace(SPEC, max_failures=limit)
    failed = trial(attempt={"outcome": Outcome.FAILED, "error": ERROR}, failures=failures)
    assert kind(react.resolve_attempt(failed, spec)) == FAILURES[limit, failures]
    stopped = changed(failed, stop="enough")
    assert kind(react.resolve_attempt(stopped, spec)) == "ERROR ValueError", (
        "a trial that is to stop is not tried again"
    )


@pytest.mark.parametrize("state", JOBS)
def test_what_the_cluster_says_of_a_job(state: JobState) -> None:
    attempt = {"ended": state, "nodes": "n1", "reason": "words"}
    verdicts = (
        react.resolve_attempt(trial(attempt=attempt), SPEC),
        react.resolve_attempt(trial(attempt=attempt, stop="enough"), SPEC),
        react.resolve_attempt(trial(attempt=attempt), replace(SPEC, max_failures=1)),
    )
    assert tuple(map(kind, verdicts)) == JOBS[state]
    first = verdicts[0]
    assert isinstance(first, (e.TrialEnded, e.RetryScheduled))
    assert f"job 7 on n1 ended as {state.value} (words)" in first.reason


def test_a_failure_without_words() -> None:
    event = react.resolve_attempt(trial(attempt={"outcome": Outcome.FAILED, "reason": "it died"}), SPEC)
    assert isinstance(event, e.TrialEnded)
    assert event.error == ErrorInfo("Error", "it died")


def test_without_an_attempt() -> None:
    assert react.resolve_attempt(trial(), SPEC) is None
    assert kind(react.resolve_attempt(trial(stop="enough"), SPEC)) == "TERMINATED"
    assert kind(react.resolve_attempt(trial(leave=VacateReason.PAUSE), SPEC)) == "paused"
    assert react.resolve_attempt(trial(phase=Phase.PAUSED), SPEC) is None
    assert kind(react.resolve_attempt(trial(phase=Phase.PAUSED, stop="enough"), SPEC)) == "TERMINATED"
    assert react.resolve_attempt(trial(phase=Phase.TERMINATED, stop="enough"), SPEC) is None
    assert react.resolve_attempt(trial(attempt={}, stop="enough"), SPEC) is None, "its run is still to obey"


def test_attempts_without_progress_end_sometime() -> None:
    last = react.MAX_INTERRUPTIONS - 1
    attempt = {"ended": JobState.TIMEOUT, "base_results": 3}
    assert kind(react.resolve_attempt(trial(attempt=attempt, results=3, interruptions=last - 1), SPEC)) == "retry"
    assert (
        kind(react.resolve_attempt(trial(attempt=attempt, results=3, interruptions=last), SPEC)) == "ERROR NoProgress"
    )
    assert kind(react.resolve_attempt(trial(attempt=attempt, results=4, interruptions=last), SPEC)) == "retry"


def test_a_metric_that_was_never_reported() -> None:
    spec = replace(SPEC, metric="acc", mode="max")
    done = trial(attempt={"outcome": Outcome.COMPLETED}, results=2, last={"eval": {"loss": 1}})
    event = react.resolve_attempt(done, spec)
    assert kind(event) == "ERROR MetricError"
    assert isinstance(event, e.TrialEnded)
    assert "'acc' was never reported. Reported were: eval/loss." in event.reason
    assert kind(react.resolve_attempt(changed(done, seen_metric=True), spec)) == "TERMINATED"
    assert kind(react.resolve_attempt(changed(done, results=0), spec)) == "TERMINATED", (
        "no results, no metric: no error"
    )


# -- the experiment -------------------------------------------------------------------------------------------------


def state_of(*events: e.Event, spec: ExperimentSpec = SPEC) -> ExperimentState:
    return ExperimentState.fold(spec, [e.Recorded(float(i), event) for i, event in enumerate(events)])


def ended(index: int, error: ErrorInfo | None = None) -> e.TrialEnded:
    return e.TrialEnded(f"t{index}", Phase.ERROR if error else Phase.TERMINATED, "over", error)


def consequence(state: ExperimentState) -> e.ExperimentStopRequested | None:
    return react.consequences(state, state.trials["t0"])


def test_consequences_of_an_end() -> None:
    assert consequence(state_of(added(), ended(0))) is None
    assert consequence(state_of(added(), ended(0, ERROR))) is None
    fast = replace(SPEC, fail_fast="stop")
    event = consequence(state_of(added(), ended(0, ERROR), spec=fast))
    assert event is not None
    assert (event.fatal, "trial0 failed: ValueError: bad" in event.reason) == (False, True)
    stopping = e.ExperimentStopRequested("already")
    assert consequence(state_of(added(), stopping, ended(0, ERROR), spec=fast)) is None


def test_a_missing_metric_ends_all_unless_some_trial_reports_it() -> None:
    spec = replace(SPEC, metric="acc", mode="max")
    missing = ErrorInfo("MetricError", "never")
    event = consequence(state_of(added(), ended(0, missing), spec=spec))
    assert event is not None
    assert event.fatal
    state = state_of(added(), added(1), ended(0, missing), spec=spec)
    state.trials["t1"] = changed(state.trials["t1"], seen_metric=True)
    assert consequence(state) is None


def silent(*numbers: int) -> list[e.Event]:
    """Trials that were added and have ended by themselves without a result."""
    return [event for n in numbers for event in (added(n), ended(n))]


@pytest.mark.parametrize(
    ("facts", "stops"),
    [
        (silent(0), False),
        (silent(0, 1), False),
        (silent(0, 1, 2), True),
        ([*silent(0), e.SearchExhausted()], True),
        ([*silent(0), added(1), e.SearchExhausted()], False),
        ([added(0), e.StopRequested("t0", "by a user"), ended(0), e.SearchExhausted()], False),
    ],
)
def test_trials_that_all_end_without_a_result_stop_the_search(facts: list[e.Event], stops: bool) -> None:
    spec = replace(SPEC, metric="val/loss", mode="min")
    event = react.never_reported(state_of(*facts, spec=spec), "/x/my run")
    assert (event is not None) == stops
    if event is not None:
        assert event.fatal
        assert "'val/loss' is to be optimized" in event.reason
        assert "hpctune.report({'val/loss': ...})" in event.reason
        assert event.reason.endswith("hpctune logs '/x/my run' t0")


def test_without_a_metric_trials_may_say_nothing() -> None:
    assert react.never_reported(state_of(*silent(0, 1, 2), e.SearchExhausted()), "/x") is None
    state = state_of(*silent(0, 1, 2), added(3), spec=replace(SPEC, metric="a", mode="min"))
    state.trials["t3"] = changed(state.trials["t3"], results=1)
    assert react.never_reported(state, "/x") is None, "one trial reports: the others may have nothing to say"


def test_an_experiment_that_stops_tells_its_trials() -> None:
    state = state_of(added(0), added(1), ended(1), e.ExperimentStopRequested("budget"))
    assert list(react.resolve_attempts(state)) == [e.StopRequested("t0", "budget")]


def test_the_time_budget() -> None:
    spec = replace(SPEC, time_budget_s=60.0)
    assert react.budget(state_of(spec=spec), 59.9) is None
    assert react.budget(state_of(spec=spec), 60.0) == e.ExperimentStopRequested("time budget of 60 s used up")
    assert react.budget(state_of(e.ExperimentStopRequested("x"), spec=spec), 99.0) is None
    assert react.budget(state_of(), 1e9) is None


def test_when_an_experiment_is_finished() -> None:
    settled = e.TrialFinalized("t0")
    assert react.finished(state_of()) is None
    assert react.finished(state_of(e.SearchExhausted())) is not None
    assert react.finished(state_of(added(), e.SearchExhausted(), ended(0))) is None, "not settled"
    assert react.finished(state_of(added(), ended(0), settled)) is None, "more may come"
    assert react.finished(state_of(added(), e.SearchExhausted(), ended(0), settled)) == e.ExperimentEnded(
        "all trials are done"
    )
    stopped = state_of(added(), e.ExperimentStopRequested("why"), ended(0), settled)
    assert react.finished(stopped) == e.ExperimentEnded("why")
    assert react.finished(state_of(e.SearchExhausted(), e.ExperimentEnded("x"))) is None


# -- admission ------------------------------------------------------------------------------------------------------


class Search:
    """Suggests what it was given, in order."""

    total = None

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def suggest(self, index: int, trial_id: str) -> Any:
        return self.answers.pop(0)

    def replay(self, *args: object) -> None: ...
    def on_result(self, *args: object) -> None: ...
    def on_complete(self, *args: object) -> None: ...


def admit(state: ExperimentState, *answers: object, room: int = 9, scheduler: Any = None, now: float = 100.0) -> Any:
    policies = Policies(Search(*answers), scheduler or FIFOScheduler())  # type: ignore[arg-type]
    return react.admit_trial(state, policies, lambda resources: room, now, lambda i, t, s: added(i))


def test_admission_asks_the_searcher_when_nobody_waits() -> None:
    assert admit(state_of(), Suggestion({}, {})) == [added(0)]
    assert admit(state_of(), WAIT) == []
    assert admit(state_of(), EXHAUSTED) == [e.SearchExhausted("the searcher has no more suggestions")]
    assert admit(state_of(e.SearchExhausted())) == []
    assert admit(state_of(), room=0) == []
    assert admit(state_of(e.ExperimentStopRequested("x"))) == []


def test_who_waits_goes_first_and_the_oldest_of_them() -> None:
    assert admit(state_of(added(0), added(1))) == [e.SubmitRequested("t0", 1)]
    assert admit(state_of(added(0)), room=0) == []
    reopened = state_of(added(0), added(1), ended(0), e.TrialFinalized("t0"), e.TrialReopened("t0", False))
    assert admit(reopened) == [e.SubmitRequested("t0", 1)], "oldest means first made, not last reopened"


def test_a_trial_that_may_not_start_yet_does_not_hold_up_others() -> None:
    refused = [e.SubmitRequested("t0", 1), e.SubmitRefused("t0", 1, "full", False, 130.0)]
    state = state_of(added(0), *refused)
    assert admit(state, Suggestion({}, {})) == [added(1)]
    assert admit(state, now=130.0) == [e.SubmitRequested("t0", 1)]
    stopped = state_of(added(0), e.StopRequested("t0", "x"))
    assert admit(stopped, Suggestion({}, {})) == [added(1)]


def test_paused_trials_go_on_when_chosen() -> None:
    state = state_of(added(0), e.PauseRequested("t0", "x"), e.TrialPaused("t0"))
    assert admit(state, WAIT) == [e.TrialResumed("t0"), e.SubmitRequested("t0", 1)]
    assert admit(state, Suggestion({}, {})) == [added(1)], "new trials come first"

    class Refuses(FIFOScheduler):
        def choose(self, waiting: Any, *, idle: bool) -> str | None:
            return None

    assert admit(state, Suggestion({}, {}), scheduler=Refuses()) == [added(1)]
    assert admit(state_of(added(0)), scheduler=Refuses()) == [], "a pending trial that is not chosen holds the place"


def test_max_concurrent() -> None:
    spec = replace(SPEC, max_concurrent=1)
    state = state_of(added(0), e.SubmitRequested("t0", 1), added(1), spec=spec)
    assert admit(state) == []
    assert admit(state_of(added(0), added(1), spec=spec)) == [e.SubmitRequested("t0", 1)]
    assert admit(state_of(added(0), spec=replace(SPEC, max_concurrent=0))) == [e.SubmitRequested("t0", 1)], "no limit"


def test_where_attempts_start() -> None:
    state = state_of(given := replace(added(0), restore="/elsewhere/c"))
    assert admit(state) == [e.SubmitRequested("t0", 1, "/elsewhere/c")]
    run = RunKey("t0", 1, 0)
    saved = e.RunEnded(run, Outcome.INTERRUPTED, "SIGTERM", None, CheckpointRef("b", 2))
    started = [e.SubmitRequested("t0", 1, "/elsewhere/c"), e.RunStarted(run, "7", "n1", 1)]
    again = state_of(given, *started, saved, e.RetryScheduled("t0", "SIGTERM", False))
    assert admit(again) == [e.SubmitRequested("t0", 2, "dir0/b")]
    lost = state_of(given, *started, saved, e.RetryScheduled("t0", "", False), e.CheckpointDeleted("t0", "b"))
    assert admit(lost) == [e.SubmitRequested("t0", 2, "/elsewhere/c")], "what is gone is not started from"


def test_a_run_that_left_on_sigterm_is_explained_by_the_cluster_first() -> None:
    """A job that somebody cancelled is not submitted again; one that was preempted is."""
    left = {"outcome": Outcome.INTERRUPTED, "reason": "SIGTERM received", "left_at": 100.0, "nodes": "n1"}
    waits = trial(attempt=left)
    assert react.resolve_attempt(waits, SPEC, 100.0 + react.LAST_WORD_S - 1) is None
    assert kind(react.resolve_attempt(waits, SPEC, 100.0 + react.LAST_WORD_S)) == "retry", "it does not wait for ever"
    assert kind(react.resolve_attempt(trial(attempt={**left, "reason": "SIGUSR1 received"}), SPEC, 100.0)) == "retry"
    stopped = trial(attempt=left, stop="enough")
    assert kind(react.resolve_attempt(stopped, SPEC, 100.0)) == "TERMINATED", "it was told to end"
    for state in JobState:
        if state.final:
            event = react.resolve_attempt(trial(attempt={**left, "ended": state}), SPEC, 100.0)
            assert kind(event) == ("ERROR JobCancelled" if state is JobState.CANCELLED else "retry")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (JobState.PREEMPTED, "was preempted"),
        (JobState.TIMEOUT, "reached its time limit"),
        (JobState.NODE_FAIL, "lost its node"),
        (JobState.COMPLETED, "was preempted or requeued"),
        (JobState.LOST, ""),
    ],
)
def test_why_it_waits_is_said_in_the_clusters_words_and_not_in_a_signals(state: JobState, words: str) -> None:
    left = {"outcome": Outcome.INTERRUPTED, "reason": "SIGTERM received", "ended": state}
    interrupted = trial(attempt=left)
    event = react.resolve_attempt(interrupted, SPEC, 100.0)
    assert isinstance(event, e.RetryScheduled)
    assert interrupted.attempt is not None
    assert event.reason == (f"job {interrupted.attempt.job_id} {words}" if words else "SIGTERM received")


def test_the_cluster_may_explain_a_run_that_left_on_sigterm_and_no_other() -> None:
    left = {"outcome": Outcome.INTERRUPTED, "reason": "SIGTERM received"}
    word = e.JobEnded("t0", 1, JobState.CANCELLED)
    assert acceptable(trial(attempt=left), word)
    assert not acceptable(trial(attempt={**left, "ended": JobState.LOST}), word), "it has explained it"
    assert not acceptable(trial(attempt={**left, "reason": "SIGUSR1 received"}), word)
    assert not acceptable(trial(attempt={"outcome": Outcome.COMPLETED}), word)
    after = evolve(trial(attempt=left), word, 9.0)
    assert after.attempt is not None
    assert (after.attempt.ended, after.attempt.reason) == (JobState.CANCELLED, "SIGTERM received")
