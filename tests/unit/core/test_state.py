"""The state's indexes, and policies that are fed live or from the journal."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from hpctune.core.policies import Policies
from hpctune.core.state import ExperimentState
from hpctune.core.transitions import acceptable
from hpctune.model import events as e
from hpctune.model.decisions import CONTINUE, Decision, Exploit, Pause, Reallocate, Stop
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Bundle, Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Phase, Trial
from hpctune.schedulers.base import FIFOScheduler
from hpctune.stopper import Stopper

SPEC = ExperimentSpec("abcde123", "exp", 0.0, "f", metric="loss", mode="min", num_samples=7)


def added(index: int) -> e.TrialAdded:
    return e.TrialAdded(f"t{index}", index, f"n{index}", f"d{index}", "", {"x": index}, {"x": index}, Resources())


def possible(state: ExperimentState, rng: random.Random) -> e.Event:
    """A random event, of whatever kind, about a random trial."""
    if not state.trials or rng.random() < 0.05:
        return added(len(state.trials))
    trial = rng.choice(list(state.trials.values()))
    i, number = trial.trial_id, trial.attempt.number if trial.attempt else trial.attempts
    run = RunKey(i, number, max(trial.attempt.restart, 0) if trial.attempt else 0)
    seq = trial.attempt.seq + 1 if trial.attempt else 1
    row = {"training_iteration": trial.last_iteration + 1, "loss": rng.random()}
    choices: list[e.Event] = [
        e.SubmitRequested(i, trial.attempts + 1), e.SubmitAcknowledged(i, number, str(rng.randrange(9))),
        e.SubmitRefused(i, number, "full", False, 3.0), e.SubmitUnanswered(i, number, "?"),
        e.AttemptRevoked(i, number, "x"), e.JobChanged(i, number, "7", rng.choice([*JobState])),
        e.JobEnded(i, number, JobState.TIMEOUT), e.RunStarted(run, "7", "h", 1), e.RunEnded(run, Outcome.FAILED, "x"),
        e.StopRequested(i, "x"), e.PauseRequested(i, "x"),
        e.ExploitRequested(i, "d", "dir/c", rng.randint(0, 9), {"x": 1}, {"x": 1}, "x", "0"),
        e.ResourcesChanged(i, Resources(), "x"), e.RunGivenUp(i, number, ErrorInfo("NoReport", "x")),
        e.RetryScheduled(i, "x", rng.random() < 0.5),
        e.TrialPaused(i), e.TrialResumed(i), e.TrialEnded(i, Phase.TERMINATED, "done"),
        e.TrialEnded(i, Phase.ERROR, "bad", ErrorInfo("E", "m")), e.TrialFinalized(i), e.TrialReopened(i, False),
        e.DriverStarted(1, "h", 1, "0"), e.BudgetUsed(rng.random()),
    ]  # fmt: skip
    if trial.phase is Phase.RUNNING and rng.random() < 0.8:
        return e.ResultReported(run, seq, row)
    return rng.choice(choices)


def history(seed: int, length: int = 400) -> list[e.Recorded]:
    """Random facts, each acceptable when it comes."""
    rng, state = random.Random(seed), ExperimentState(SPEC)
    recorded: list[e.Recorded] = []
    while len(recorded) < length:
        event = possible(state, rng)
        if isinstance(event, e.TrialEvent) and not acceptable(state.trials[e.trial_id_of(event)], event):
            continue
        recorded.append(e.Recorded(float(len(recorded)), event))
        state.apply(recorded[-1])
    return recorded


def test_the_indexes_agree_with_the_trials_at_every_moment() -> None:
    seen: Counter[Phase] = Counter()
    for seed in range(10):
        state = ExperimentState(SPEC)
        for recorded in history(seed):
            state.apply(recorded)
            trials = list(state.trials.values())
            assert state.phases == Counter(t.phase for t in trials), "Counter compares missing as 0"
            assert list(state.active_trials()) == [state.trials[i] for i in state.active]
            assert set(state.active) == {t.trial_id for t in trials if not t.phase.final}
            assert set(state.unfinalized) == {t.trial_id for t in trials if t.phase.final and not t.finalized}
            assert state.unfinalized_trials() == [state.trials[i] for i in state.unfinalized]
            assert state.live == sum(t.phase.live for t in trials)
            assert state.finished == sum(t.phase.final for t in trials)
            for phase in Phase:
                if not phase.final:
                    assert state.in_phase(phase) == [t for t in trials if t.phase is phase]
            two = state.in_phase(Phase.PENDING, Phase.PAUSED)
            assert two == [t for t in trials if t.phase in (Phase.PENDING, Phase.PAUSED)]
        seen.update(state.phases)
    assert set(seen) == set(Phase), "every phase occurred"


def test_folding_again_gives_the_same() -> None:
    recorded = history(3)
    assert ExperimentState.fold(SPEC, recorded).trials == ExperimentState.fold(SPEC, recorded).trials


def test_a_new_driver_doubts_the_submissions_of_the_last() -> None:
    events = [added(0), e.SubmitRequested("t0", 1), e.DriverStarted(2, "h", 1, "0")]
    state = ExperimentState.fold(SPEC, [e.Recorded(float(i), x) for i, x in enumerate(events)])
    attempt = state.trials["t0"].attempt
    assert attempt is not None
    assert attempt.uncertain_since == 2.0


def test_what_concerns_the_experiment() -> None:
    events: list[e.Event] = [
        e.DriverStarted(1, "h", 1, "0"), e.CommandReceived("c1", "stop"), e.SearchExhausted(),
        e.ExperimentStopRequested("first"), e.ExperimentStopRequested("second"), e.BudgetUsed(7.5),
        e.ExperimentEnded("first"), e.DriverStopped("finished"),
    ]  # fmt: skip
    state = ExperimentState.fold(SPEC, [e.Recorded(float(i), x) for i, x in enumerate(events)])
    assert state.stopping == e.ExperimentStopRequested("first")
    assert (state.exhausted, state.ended, state.driven_s, state.commands) == (True, "first", 7.5, {"c1"})
    assert [type(r.event).__name__ for r in state.drivers] == ["DriverStarted", "DriverStopped"]
    state.apply(e.Recorded(9.0, e.ExperimentReopened(20)))
    assert (state.stopping, state.exhausted, state.ended, state.num_samples) == (None, False, None, 20)
    assert (state.driven_s, state.last_at) == (7.5, 9.0)


# -- policies -------------------------------------------------------------------------------------------------------


class Told:
    """Notes everything, and answers from a seed and what it was told."""

    total = None

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def suggest(self, index: int, trial_id: str) -> Any: ...
    def replay(self, index: int, trial_id: str, config: Mapping[str, Any]) -> None:
        self.told.append(("replay", index, trial_id, dict(config)))

    def on_result(self, trial_id: str, row: Mapping[str, Any]) -> None:
        self.told.append(("result", trial_id, dict(row)))

    def on_pause(self, trial_id: str) -> None:
        self.told.append(("pause", trial_id))

    def on_unpause(self, trial_id: str) -> None:
        self.told.append(("unpause", trial_id))

    def on_complete(self, trial_id: str, row: Mapping[str, Any] | None, error: bool) -> None:
        self.told.append(("complete", trial_id, row, error))


class Moody(FIFOScheduler):
    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def on_trial_add(self, trial: Trial) -> None:
        self.told.append(("add", trial))

    def on_trial_result(self, trial: Trial, row: Mapping[str, Any]) -> Decision:
        self.told.append(("result", trial, dict(row)))
        return (
            CONTINUE, CONTINUE, Stop("low"), Pause("rest"), Exploit(trial.trial_id, {"x": 9}, "better"),
            Reallocate(Resources((Bundle(len(self.told)),)), "more"),
        )[len(self.told) % 6]  # fmt: skip

    def decisions_on_others(self) -> list[tuple[str, Decision]]:
        return [(self.told[0][1].trial_id, Stop("low as well"))] if len(self.told) % 11 == 10 else []

    def on_trial_complete(self, trial: Trial, row: Mapping[str, Any]) -> None:
        self.told.append(("complete", trial, dict(row)))

    def on_trial_error(self, trial: Trial) -> None:
        self.told.append(("error", trial))

    def milestone(self, trial: Trial) -> float | None:
        return float(len(self.told) // 3)


class Counting(Stopper):
    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        self.told.append((trial_id, dict(result)))
        return len(self.told) % 7 == 0

    def stop_all(self) -> bool:
        return len(self.told) > 50


def policies() -> Policies:
    return Policies(Told(), Moody(), Counting())


def fed(recorded: list[e.Recorded], live_until: int) -> tuple[Policies, list[list[e.Event]]]:
    """Policies that lived through some of the facts and were then made anew, from the journal, at ``live_until``."""
    state, made, answers = ExperimentState(SPEC), policies(), list[list[e.Event]]()
    for number, one in enumerate(recorded):
        state.apply(one)
        if number < live_until:
            made.replay(one.event, state)
        else:
            if isinstance(one.event, e.TrialAdded):
                made.search.replay(one.event.index, one.event.trial_id, one.event.config)
            elif isinstance(one.event, e.BudgetUsed):
                made.tick(one.event.seconds)
            answers.append(made.feed(one.event, state))
    return made, answers


def told(made: Policies) -> list[Any]:
    return [made.search.told, made.scheduler.told, made.stopper.told]  # type: ignore[attr-defined, union-attr]


def test_replayed_policies_are_where_live_ones_are_and_answer_the_same() -> None:
    kinds: set[type[e.Event]] = set()
    for seed in range(5):
        recorded = history(seed)
        lived, answers = fed(recorded, 0)
        kinds |= {type(event) for some in answers for event in some}
        for cut in (1, 100, 399, 400):
            resumed, later = fed(recorded, cut)
            assert told(resumed) == told(lived)
            assert later == answers[cut:]
    assert {e.StopRequested, e.PauseRequested, e.ExploitRequested, e.ResourcesChanged, e.MilestoneSet} <= kinds


def test_policies_hear_of_counted_results_only() -> None:
    state, made = ExperimentState(SPEC), policies()
    run = RunKey("t0", 1, 0)
    events: list[e.Event] = [
        added(0), e.SubmitRequested("t0", 1), e.RunStarted(run, "7", "h", 1),
        e.ResultReported(run, 1, {"training_iteration": 1}, e.Verdict.REPEATED),
        e.ResultReported(run, 2, {"training_iteration": 1}, e.Verdict.OVERRUN),
    ]  # fmt: skip
    for event in events:
        state.apply(e.Recorded(0.0, event))
        made.feed(event, state)
    assert [entry[0] for entry in made.scheduler.told] == ["add"]  # type: ignore[attr-defined]
    assert made.search.told == []  # type: ignore[attr-defined]


def test_a_milestone_is_answered_when_it_is_reached() -> None:
    class Rungs(FIFOScheduler):
        def milestone(self, trial: Trial) -> float | None:
            return 2.0 if trial.last_iteration < 2 else None

    state, made = ExperimentState(SPEC), Policies(Told(), Rungs())
    run = RunKey("t0", 1, 0)

    def take(event: e.Event) -> list[e.Event]:
        state.apply(e.Recorded(0.0, event))
        answers = made.feed(event, state)
        for answer in answers:
            state.apply(e.Recorded(0.0, answer))
        return answers

    assert take(added(0)) == [e.MilestoneSet("t0", 2.0)]
    take(e.SubmitRequested("t0", 1))
    take(e.RunStarted(run, "7", "h", 1))
    assert take(e.ResultReported(run, 1, {"training_iteration": 1})) == []
    answers = take(e.ResultReported(run, 2, {"training_iteration": 2}))
    assert answers == [e.MilestoneAnswered("t0", 2.0), e.MilestoneSet("t0", None)]
