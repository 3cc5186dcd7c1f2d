"""Failures that are met with more than another attempt: hangs, requests that were too small, nodes that are bad."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpctune.cluster.slurm import sacct
from hpctune.core import failure_policy, react
from hpctune.core.change import changed
from hpctune.core.evolve import evolve
from hpctune.core.policies import Policies
from hpctune.core.state import ExperimentState
from hpctune.errors import UsageError
from hpctune.model import events as e
from hpctune.model.failure_policy import MAX_GROWTHS, FailurePolicy
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Bundle, Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial, VacateReason
from hpctune.schedulers.base import FIFOScheduler
from hpctune.search.base import WAIT

GIB = 2**30
BASE = ExperimentSpec("abcde123", "exp", 0.0, "f")
TRACEBACK = 'Traceback\n  File "/a/train.py", line {line}, in train\n    x()\nValueError: {text}\n'


def spec(**options: Any) -> ExperimentSpec:
    return replace(BASE, failure_policy=FailurePolicy(**options))


class World:
    """A state that takes facts and what follows from them."""

    def __init__(self, **options: Any) -> None:
        self.state, self.at = ExperimentState(spec(**options)), 0.0

    def start(self, index: int, node: str = "n1") -> str:
        i = f"t{index}"
        bundle = Bundle(1.0, 0.0, 4 * GIB)
        self.take(e.TrialAdded(i, index, i, i, "", {}, {}, Resources((bundle,))))
        return self.attempt(i, node)

    def attempt(self, i: str, node: str = "n1") -> str:
        number = self.state.trials[i].attempts + 1
        self.take(e.SubmitRequested(i, number))
        self.take(e.RunStarted(RunKey(i, number, 0), f"7{number}", node, 1))
        return i

    def take(self, event: e.Event, at: float = 0.0) -> None:
        self.at = max(self.at + 1.0, at)
        self.state.apply(e.Recorded(self.at, event))

    def report(self, i: str, iteration: int, at: float = 0.0) -> None:
        run = self.state.trials[i].run
        assert run is not None
        self.take(e.ResultReported(run, iteration, {"training_iteration": iteration}), at)

    def leave(self, i: str, outcome: Outcome, reason: str = "why", error: ErrorInfo | None = None) -> None:
        run = self.state.trials[i].run
        assert run is not None
        self.take(e.RunEnded(run, outcome, reason, error))

    def die(self, i: str, state: JobState) -> None:
        attempt = self.state.trials[i].attempt
        assert attempt is not None
        self.take(e.JobEnded(i, attempt.number, state))

    def judge(self, i: str) -> list[e.Event]:
        """Verdicts until there is none."""
        given = []
        while (verdict := react.resolve_attempt(self.state.trials[i], self.state.spec)) is not None:
            given.append(verdict)
            self.take(verdict)
        return given

    def trial(self, i: str) -> Trial:
        return self.state.trials[i]


# -- hangs ----------------------------------------------------------------------------------------------------------


def test_a_silent_run_is_given_up_and_its_trial_goes_on() -> None:
    w = World(report_timeout_s=60.0)
    w.state.spec = replace(w.state.spec, max_failures=1)
    i = w.start(0)
    began = w.at
    assert failure_policy.detect_hang(w.trial(i), w.state.spec.failure_policy, began + 60) is None
    w.report(i, 1, at=began + 50)
    assert failure_policy.detect_hang(w.trial(i), w.state.spec.failure_policy, began + 110) is None, (
        "it was heard of since"
    )
    (fact,) = react.resolve_attempts(w.state, began + 111)
    assert isinstance(fact, e.RunGivenUp)
    assert "has not reported for 61 s" in fact.error.message
    w.take(fact)
    (again,) = w.judge(i)
    assert isinstance(again, e.RetryScheduled)
    assert again.counts
    assert w.trial(i).phase is Phase.PENDING
    w.attempt(i)
    (fact,) = react.resolve_attempts(w.state, w.at + 1000)
    w.take(fact)
    (end,) = w.judge(i)
    assert isinstance(end, e.TrialEnded)
    assert end.error is not None
    assert end.error.kind == "NoReport"


def test_silence_is_no_hang_without_a_limit_or_a_run() -> None:
    w = World()
    i = w.start(0)
    assert failure_policy.detect_hang(w.trial(i), w.state.spec.failure_policy, 1e12) is None
    queued = changed(w.trial(i), phase=Phase.QUEUED)
    assert failure_policy.detect_hang(queued, FailurePolicy(report_timeout_s=1.0), 1e12) is None


# -- requests that were too small -----------------------------------------------------------------------------------


def test_memory_grows_three_times_at_most() -> None:
    w = World(grow_memory=2.0)
    i = w.start(0)
    for growth in range(MAX_GROWTHS):
        w.die(i, JobState.OUT_OF_MEMORY)
        more, again = w.judge(i)
        assert isinstance(more, e.ResourcesChanged)
        assert isinstance(again, e.RetryScheduled)
        assert not again.counts
        assert w.trial(i).resources.memory_bytes == 4 * GIB * 2 ** (growth + 1)
        assert (w.trial(i).phase, w.trial(i).failures, w.trial(i).interruptions) == (Phase.PENDING, 0, 0)
        w.attempt(i)
    w.die(i, JobState.OUT_OF_MEMORY)
    (end,) = w.judge(i)
    assert isinstance(end, e.TrialEnded)
    assert "The request was 1 CPU, 32.0 GiB" in end.reason


def test_a_memory_error_is_out_of_memory_too() -> None:
    w = World(grow_memory=1.5)
    i = w.start(0)
    w.leave(i, Outcome.FAILED, error=ErrorInfo("MemoryError", "cannot allocate"))
    assert [type(x) for x in w.judge(i)] == [e.ResourcesChanged, e.RetryScheduled]
    assert w.trial(i).resources.memory_bytes == 6 * GIB


def test_without_the_option_or_a_stated_amount_it_fails_as_ever() -> None:
    w = World()
    i = w.start(0)
    w.die(i, JobState.OUT_OF_MEMORY)
    assert [type(x) for x in w.judge(i)] == [e.TrialEnded]
    assert (
        failure_policy.grow_request(
            changed(w.trial(i), resources=Resources()), FailurePolicy(grow_memory=2.0), memory=True
        )
        is None
    )


@pytest.mark.parametrize("warned", [True, False])
def test_time_grows_only_where_nothing_new_was_reported(warned: bool) -> None:
    w = World(grow_time=3.0)
    i = w.start(0)

    def time_is_up() -> list[e.Event]:
        if warned:
            w.leave(i, Outcome.INTERRUPTED, "SIGUSR2 received")
        else:
            w.die(i, JobState.TIMEOUT)
        return w.judge(i)

    w.report(i, 1)
    assert [type(x) for x in time_is_up()] == [e.RetryScheduled], "it gets on: the time is enough"
    w.attempt(i)
    assert [type(x) for x in time_is_up()] == [e.ResourcesChanged, e.RetryScheduled]
    assert w.trial(i).resources.time_factor == 3.0
    w.attempt(i)
    w.take(e.StopRequested(i, "enough"))
    assert [type(x) for x in time_is_up()] == [e.TrialEnded], "what is to stop does not grow"


def test_a_preemption_is_not_a_lack_of_time() -> None:
    w = World(grow_time=3.0)
    i = w.start(0)
    w.die(i, JobState.PREEMPTED)
    assert [type(x) for x in w.judge(i)] == [e.RetryScheduled]


def test_a_failure_while_it_moves_is_a_failure() -> None:
    w = World()
    i = w.start(0)
    w.take(e.ResourcesChanged(i, Resources(), "other"))
    assert w.trial(i).leave is VacateReason.MOVE
    w.leave(i, Outcome.FAILED, error=ErrorInfo("ValueError", "bad"))
    assert [type(x) for x in w.judge(i)] == [e.TrialEnded]


# -- nodes ----------------------------------------------------------------------------------------------------------


def test_a_node_is_bad_where_others_are_not() -> None:
    w = World()
    for index in range(3):
        w.leave(w.start(index, "bad"), Outcome.FAILED, error=ErrorInfo("RuntimeError", "CUDA error"))
    assert w.state.bad_nodes(3) == [], "perhaps it is the trials that are bad"
    w.leave(w.start(3, "good"), Outcome.COMPLETED)
    assert w.state.bad_nodes(3) == ["bad"]
    assert w.state.bad_nodes(4) == []
    w.die(w.start(4, "bad"), JobState.NODE_FAIL)
    assert w.state.bad_nodes(4) == ["bad"]
    w.die(w.start(5, "bad"), JobState.PREEMPTED)
    w.die(w.start(6, "n[1-2]"), JobState.NODE_FAIL)
    assert dict(w.state.deaths) == {"bad": 4}, "a preemption says nothing, nor an end on several nodes"
    w.leave(w.start(7, "bad"), Outcome.COMPLETED)
    assert w.state.bad_nodes(1) == []


# -- experiments that are stopped ------------------------------------------------------------------------------------


def failed(w: World, index: int, line: int = 3, text: str = "bad") -> Trial:
    i = w.start(index)
    error = ErrorInfo("ValueError", text, TRACEBACK.format(line=line, text=text))
    w.take(e.TrialEnded(i, Phase.ERROR, str(error), error))
    return w.trial(i)


def test_the_same_error_in_the_first_trials_stops_the_experiment() -> None:
    w = World(same_error_limit=3)
    assert react.consequences(w.state, failed(w, 0)) is None
    assert react.consequences(w.state, failed(w, 1, text="other words")) is None
    stop = react.consequences(w.state, failed(w, 2))
    assert stop is not None
    assert "the first 3 trials have all failed with the same error: ValueError: bad" in stop.reason
    assert "hpctune resume DIR --restart-errored" in stop.reason


def test_different_errors_or_a_good_trial_do_not() -> None:
    w = World(same_error_limit=2)
    failed(w, 0)
    assert react.consequences(w.state, failed(w, 1, line=4)) is None
    w = World(same_error_limit=2)
    w.take(e.TrialEnded(w.start(0), Phase.TERMINATED, "done"))
    failed(w, 1)
    assert react.consequences(w.state, failed(w, 2)) is None


class Silent:
    total = None

    def suggest(self, index: int, trial_id: str) -> Any:
        return WAIT


def test_the_canary_runs_alone_until_it_has_reported() -> None:
    w = World(canary=True)
    i = w.start(0)
    w.take(e.TrialAdded("t1", 1, "t1", "t1", "", {}, {}, Resources()))

    def admit() -> list[e.Event]:
        policies = Policies(Silent(), FIFOScheduler())  # type: ignore[arg-type]
        return react.admit_trial(w.state, policies, lambda r: 9, w.at, lambda *x: None)  # type: ignore

    assert admit() == []
    w.report(i, 1)
    assert admit() == [e.SubmitRequested("t1", 1)]
    assert react.consequences(w.state, failed(w, 2)) is None, "the canary has lived"


def test_a_dead_canary_stops_the_experiment() -> None:
    w = World(canary=True)
    stop = react.consequences(w.state, failed(w, 0))
    assert stop is not None
    assert "the canary trial t0 failed before it had reported: ValueError: bad" in stop.reason


# -- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"report_timeout_s": 0}, {"report_timeout_s": True}, {"grow_memory": 1.0}, {"grow_time": float("inf")},
        {"exclude_nodes_after": 0}, {"same_error_limit": 1.5}, {"canary": 1},
    ],
)  # fmt: skip
def test_what_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        FailurePolicy(**options)


def test_the_definition_comes_back_from_its_file() -> None:
    whole = spec(
        report_timeout_s=5.0, grow_memory=2.0, grow_time=1.5, exclude_nodes_after=2, same_error_limit=3, canary=True
    )
    assert ExperimentSpec.from_json(whole.to_json()) == whole


def test_a_larger_request_comes_back_too() -> None:
    more = Resources((Bundle(2.0, 1.0, 3),)).grown(memory=1.5, time=2.0)
    assert more == Resources((Bundle(2.0, 1.0, 5),), "PACK", 2.0)
    assert Resources.from_json(more.to_json()) == more
    assert "2 times the time" in more.describe()


def test_what_sacct_says() -> None:
    answer = "12|||00:10:02|00:10:00\n12.batch|100.50M||00:10:03|\n12.0|2048M||00:10:01|\n"
    assert sacct.words(answer) == "used up to 2048 MiB of memory, ran for 00:10:02 of 00:10:00"
    assert sacct.words("12||2000Mc|00:00:05|00:10:00\n12.batch|1900K|||\n").startswith("used up to 2 MiB of 2000 MiB")
    assert sacct.words("") == ""
    assert sacct.words("garbage") == ""


def test_evolve_forgets_what_was_ordered_when_an_attempt_is_revoked() -> None:
    w = World()
    i = w.start(0)
    queued = changed(w.trial(i), phase=Phase.QUEUED, leave=VacateReason.MOVE)
    assert evolve(queued, e.AttemptRevoked(i, 1, "moved"), 1.0).leave is None
    assert (
        evolve(changed(queued, leave=VacateReason.PAUSE), e.AttemptRevoked(i, 1, "x"), 1.0).leave is VacateReason.PAUSE
    )


# -- again and again -------------------------------------------------------------------------------------------------


def test_a_trial_that_fails_at_once_is_tried_less_and_less_often() -> None:
    w = World()
    spec = replace(w.state.spec, max_failures=-1)
    waits = []
    for failures in range(12):
        i = w.start(failures)
        w.leave(i, Outcome.FAILED, error=ErrorInfo("ValueError", "bad"))
        verdict = react.resolve_attempt(changed(w.trial(i), failures=failures), spec, 1000.0)
        assert isinstance(verdict, e.RetryScheduled)
        waits.append(max(0.0, verdict.not_before - 1000.0))
    assert waits == [0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
