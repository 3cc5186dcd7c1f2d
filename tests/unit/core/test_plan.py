"""Every branch of the plan."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from hpctune.core.change import changed
from hpctune.core.plan import ControlVersion, View, control_of, orders, plan
from hpctune.core.state import ExperimentState
from hpctune.model import actions as a, events as e
from hpctune.model.ids import RunKey, Tag
from hpctune.model.jobs import JobState, JobStatus
from hpctune.model.records import Outcome
from hpctune.model.resources import Resources
from hpctune.model.spec import CheckpointPolicy, ExperimentSpec
from hpctune.model.trial import Attempt, CheckpointRef, Phase, VacateReason

SPEC = ExperimentSpec("abcde123", "exp", 0.0, "f", stop_grace_s=30.0)
P, S, Q, R, W, T, E = (
    Phase.PENDING, Phase.SUBMITTING, Phase.QUEUED, Phase.RUNNING, Phase.PAUSED, Phase.TERMINATED, Phase.ERROR,
)  # fmt: skip
TOLD: ControlVersion = (1, None, None, None, None, None)


def state_with(*trials: dict[str, Any], spec: ExperimentSpec = SPEC) -> ExperimentState:
    """Trials t0, t1, ... as they are told; ``attempt``: fields of the attempt."""
    state = ExperimentState(spec)
    for index, fields in enumerate(map(dict, trials)):
        event = e.TrialAdded(f"t{index}", index, f"trial{index}", f"dir{index}", str(index), {}, {}, Resources())
        state.apply(e.Recorded(0.0, event))
        attempt = fields.pop("attempt", None)
        current = Attempt(1, 1.0, **attempt) if attempt is not None else None
        before = state.trials[f"t{index}"]
        state._put(before, changed(before, attempt=current, attempts=1, **fields))
    return state


def owed(
    *trials: dict[str, Any], spec: ExperimentSpec = SPEC, now: float = 1000.0, asked_at: float = 990.0,
    jobs: tuple[JobStatus, ...] = (), published: ControlVersion | None = TOLD,
) -> list[a.Action]:  # fmt: skip
    told = {f"t{i}": published for i in range(len(trials)) if published is not None}
    return plan(state_with(*trials, spec=spec), View(now, jobs, asked_at, told))  # type: ignore[arg-type]


def job(trial_id: str, attempt: int = 1, state: JobState = JobState.RUNNING, job_id: str = "77") -> JobStatus:
    return JobStatus(job_id, Tag("abcde123", trial_id, attempt), state)


# -- attempts -------------------------------------------------------------------------------------------------------


def test_nothing_is_owed_to_who_waits_or_runs_as_told() -> None:
    assert owed({"phase": P}, {"phase": W}) == []
    assert owed({"phase": R, "attempt": {"job_id": "7", "restart": 0}}) == []
    assert owed({"phase": R, "attempt": {"outcome": Outcome.COMPLETED}}) == [], "the verdict comes first"


def test_an_ended_trial_is_settled() -> None:
    assert owed({"phase": T}, {"phase": E}) == [a.Finalize("t0"), a.Finalize("t1")]


def test_a_requested_attempt_is_submitted_once() -> None:
    assert owed({"phase": S, "attempt": {}}) == [a.Submit("t0", 1)]


def test_a_doubtful_submission_is_given_up_only_after_an_answer_to_a_later_question() -> None:
    doubtful = {"phase": S, "attempt": {"uncertain_since": 900.0}}
    assert owed(doubtful, asked_at=900.0) == []
    assert owed(doubtful, asked_at=float("-inf")) == []
    (action,) = owed(doubtful, asked_at=900.1)
    assert isinstance(action, a.Revoke)
    assert action.run == RunKey("t0", 1, 0)


@pytest.mark.parametrize("wish", [{"stop": "enough"}, {"leave": VacateReason.PAUSE}])
def test_an_unwanted_attempt_is_revoked_and_its_job_cancelled(wish: dict[str, Any]) -> None:
    assert [type(x) for x in owed({"phase": S, "attempt": {}, **wish})] == [a.Revoke]
    assert owed({"phase": S, "attempt": {"uncertain_since": 995.0}, **wish}) == [], "its job may be on its way"
    actions = owed({"phase": Q, "attempt": {"job_id": "7"}, **wish})
    assert [type(x) for x in actions] == [a.Revoke, a.Cancel]
    requeued = owed({"phase": Q, "attempt": {"job_id": "7", "restart": 2}, **wish})[0]
    assert isinstance(requeued, a.Revoke)
    assert requeued.run == RunKey("t0", 1, 3)


@pytest.mark.parametrize(
    "news",
    [{"stop": "x"}, {"leave": VacateReason.PAUSE}, {"milestone": 4.0}, {"answered": 4.0}],
)
def test_a_running_trial_is_told_what_is_new(news: dict[str, Any]) -> None:
    running: dict[str, Any] = {"phase": R, "attempt": {"job_id": "7", "restart": 0}}
    assert owed({**running, **news, "stop_at": 999.0}) == [a.PublishControl("t0")]
    assert owed(running, published=None) == [a.PublishControl("t0")], "a new driver has told nobody yet"
    assert owed({"phase": Q, "attempt": {"job_id": "7"}, "milestone": 2.0}) == [a.PublishControl("t0")]


def test_a_job_that_is_another_trials_by_now_is_not_cancelled() -> None:
    """A controller that was killed has given its number out once more."""
    slow: dict[str, Any] = {"phase": R, "attempt": {"restart": 0, "job_id": "7"}, "stop": "x", "stop_at": 900.0}
    told: ControlVersion = (1, "x", None, None, None, None)
    other = replace(job("t1"), job_id="7")
    mine = replace(job("t0"), job_id="7")
    its: dict[str, Any] = {"phase": R, "attempt": {"restart": 0, "job_id": "7"}}
    assert not any(isinstance(x, a.Cancel) for x in owed(slow, its, published=told, jobs=(other,)))
    assert any(isinstance(x, a.Cancel) for x in owed(slow, published=told, jobs=(mine,)))


def test_who_does_not_obey_is_cancelled_after_the_grace_time() -> None:
    def slow(phase: Phase = R, **attempt: Any) -> list[a.Action]:
        return owed(
            {"phase": phase, "attempt": {"restart": 0, **attempt}, "stop": "x", "stop_at": 960.0},
            published=(1, "x", None, None, None, None),
        )

    assert slow(job_id="7") == [a.Cancel("7", "it did not obey for 30 s")]
    assert slow(job_id=None) == []
    told = (1, "x", None, None, None, None)
    obedient = {"phase": R, "attempt": {"job_id": "7", "restart": 0}, "stop": "x", "stop_at": 970.0}
    assert owed(obedient, published=told) == []


def test_the_control_file() -> None:
    spec = replace(SPEC, criteria={"loss": 1}, metric="loss", mode="min", export_formats=("model",))
    state = state_with({"phase": R, "attempt": {"restore": "dir1/checkpoint_1"}, "stop": "x", "milestone": 3.0})
    control = control_of(state.trials["t0"], spec, "/exp")
    assert (control.restore, control.stop, control.milestone) == ("/exp/dir1/checkpoint_1", "x", 3.0)
    assert (control.criteria, control.metric, control.export_formats) == ({"loss": 1}, "loss", ("model",))
    absolute = state_with({"phase": R, "attempt": {"restore": "/elsewhere/c"}})
    assert control_of(absolute.trials["t0"], spec, "/exp").restore == "/elsewhere/c"
    assert orders(state.trials["t0"]) == (1, "x", None, 3.0, None, None)


# -- orphans --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", JobState)
def test_jobs_that_nobody_wants_are_cancelled(state: JobState) -> None:
    orphan = job("t9", state=state)
    expected = [] if state.final or state is JobState.COMPLETING else ["77"]
    assert [x.job_id for x in owed(jobs=(orphan,)) if isinstance(x, a.Cancel)] == expected


def test_jobs_of_current_attempts_are_wanted() -> None:
    running = {"phase": R, "attempt": {"job_id": "77", "restart": 0}}
    assert owed(running, jobs=(job("t0"),)) == []
    assert [type(x) for x in owed(running, jobs=(job("t0", attempt=2),))] == [a.Cancel]
    assert owed({"phase": S, "attempt": {"uncertain_since": 995.0}}, jobs=(job("t0"),)) == []


def test_a_requeued_job_is_not_cancelled_before_it_is_known_why_its_run_left() -> None:
    """Else the cluster's word on it would be that it was cancelled."""
    left = {"job_id": "77", "restart": 0, "outcome": Outcome.INTERRUPTED, "reason": "SIGTERM received"}
    requeued = (job("t0", state=JobState.PENDING),)
    assert owed({"phase": R, "attempt": left}, jobs=requeued) == []
    known = {**left, "ended": JobState.PREEMPTED}
    assert owed({"phase": R, "attempt": known}, jobs=requeued) == [a.Cancel("77", "no attempt of any trial needs it")]


def test_a_worker_gets_time_to_leave_and_a_waiting_job_none() -> None:
    paused: dict[str, Any] = {"phase": W, "released_at": 970.0}
    assert owed(paused, jobs=(job("t0"),), asked_at=1000.0) == []
    assert len(owed(paused, jobs=(job("t0"),), asked_at=1000.1)) == 1
    assert len(owed(paused, jobs=(job("t0", state=JobState.PENDING),), asked_at=970.1)) == 1
    assert owed(paused, jobs=(job("t0", state=JobState.PENDING),), asked_at=970.0) == [], "an old answer"


# -- retention ------------------------------------------------------------------------------------------------------


def deleted(scores: list[float | None], policy: CheckpointPolicy, *others: dict[str, Any], **changes: Any) -> list[str]:
    refs = tuple(CheckpointRef(f"c{i}", i, score) for i, score in enumerate(scores))
    trial = {"phase": R, "attempt": {"restart": 0}, "checkpoints": refs, **changes}
    actions = owed(trial, *others, spec=replace(SPEC, checkpoint=policy))
    return [x.name for x in actions if isinstance(x, a.DeleteCheckpoint) and x.trial_id == "t0"]


def test_retention_keeps_all_or_the_newest() -> None:
    assert deleted([None] * 4, CheckpointPolicy()) == []
    assert deleted([None] * 4, CheckpointPolicy(keep=4)) == []
    assert deleted([None] * 4, CheckpointPolicy(keep=2)) == ["c0", "c1"]


def test_retention_keeps_the_best_and_always_the_newest() -> None:
    best_max = CheckpointPolicy(keep=2, score_attribute="acc", score_order="max")
    best_min = CheckpointPolicy(keep=2, score_attribute="acc", score_order="min")
    assert deleted([5.0, 1.0, 4.0, 2.0, 3.0], best_max) == ["c1", "c3"]
    assert deleted([5.0, 1.0, 4.0, 2.0, 3.0], best_min) == ["c0", "c2"]
    assert deleted([5.0, 4.0, 6.0], best_max) == ["c1"]
    assert deleted([1.0, 1.0, 1.0], best_max) == ["c0"], "of equals the newer"


@pytest.mark.parametrize("order", ["max", "min"])
@pytest.mark.parametrize("bad", [float("nan"), None])
def test_a_score_that_is_none_is_the_worst(order: str, bad: float | None) -> None:
    policy = CheckpointPolicy(keep=1, score_attribute="acc", score_order=order)
    for position in range(3):
        scores: list[float | None] = [1.0, 1.0, 1.0]
        scores[position] = bad
        kept = {"c0", "c1", "c2"} - set(deleted(scores, policy))
        assert "c2" in kept
        assert kept == ({"c2"} if position < 2 else {"c2", "c1"})


def test_retention_for_every_order_of_scores() -> None:
    policy = CheckpointPolicy(keep=2, score_attribute="acc")
    for scores in itertools.permutations([1.0, 2.0, 3.0, 4.0]):
        kept = [i for i in range(4) if f"c{i}" not in deleted(list(scores), policy)]
        assert 3 in kept
        best = {i for i in range(4) if scores[i] >= 3.0}
        assert set(kept) == best | {3}


def test_what_an_attempt_starts_from_is_kept() -> None:
    keep = CheckpointPolicy(keep=1)
    assert deleted([None] * 3, keep, attempt={"restart": 0, "restore": "dir0/c0"}) == ["c1"]
    other = {"phase": R, "attempt": {"restart": 0, "restore": "dir0/c1"}}
    assert deleted([None] * 3, keep, other) == ["c0"], "another trial may start from it"
    elsewhere = {"phase": R, "attempt": {"restart": 0, "restore": "dir1/c1"}}
    assert deleted([None] * 3, keep, elsewhere) == ["c0", "c1"]


def test_an_ended_trial_loses_its_spare_checkpoints_before_it_is_settled() -> None:
    refs = (CheckpointRef("c0", 1), CheckpointRef("c1", 2))
    spec = replace(SPEC, checkpoint=CheckpointPolicy(keep=1))
    assert owed({"phase": T, "checkpoints": refs}, spec=spec) == [a.DeleteCheckpoint("t0", "c0"), a.Finalize("t0")]
