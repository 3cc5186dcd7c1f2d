"""Each invariant can fail: a mutant of the engine that breaks it is caught by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctune.core import evolve, plan, react, state, transitions
from hpctune.driver import engine, observe, perform
from hpctune.errors import ClusterUnavailableError
from hpctune.model import actions as a, events as e
from hpctune.model.trial import Phase
from hpctune.storage import codec
from hpctune.testing import simulated
from tests.property.schedule import run_schedule
from tests.property.world import Violation

SEEDS = range(200)
Patch = Callable[[pytest.MonkeyPatch], None]


def resubmit_without_looking(patch: pytest.MonkeyPatch) -> None:
    """Recovery submits again instead of looking for the tag."""
    real = plan._owed

    def owed(trial: Any, spec: Any, view: Any) -> Any:
        if trial.phase is Phase.SUBMITTING and trial.attempt is not None:
            return iter([a.Submit(trial.trial_id, trial.attempt.number)])
        return real(trial, spec, view)

    patch.setattr(plan, "_owed", owed)


def count_every_row(patch: pytest.MonkeyPatch) -> None:
    """Iterations that an earlier run had reported count again."""
    real = transitions.classify_row

    def admit(*args: Any) -> e.ResultReported:
        return replace(real(*args), verdict=e.Verdict.COUNTED)

    patch.setattr(transitions, "classify_row", admit)


def trust_any_run(patch: pytest.MonkeyPatch) -> None:
    """A run that was superseded still holds the trial."""
    patch.setattr(transitions, "_holds", lambda trial, run: trial.attempt is not None and not trial.attempt.over)
    real = observe.RunWatcher.look_at

    def look_at(self: Any, st: Any, trial_id: str, record: Any, *, probe: bool, some: bool = False) -> None:
        real(self, st, trial_id, record, probe=probe, some=some)
        trial = st.trials[trial_id]
        if trial.attempt is not None and trial.attempt.restart > 0:
            old = transitions.RunKey(trial_id, trial.attempt.number, trial.attempt.restart - 1)
            self._drain(st, self._open(trial, old).read(), record)

    patch.setattr(observe.RunWatcher, "look_at", look_at)


def revoke_on_paper(patch: pytest.MonkeyPatch) -> None:
    """The driver notes a revocation without claiming the run, and jobs do not look whose attempt it is."""
    patch.setattr(perform.run_file, "revoke", lambda path, run, at: True)
    patch.setattr(simulated.SimulatedRun, "control", lambda run: simulated.control_file.read(run.paths.control))


def outage_means_absence(patch: pytest.MonkeyPatch) -> None:
    """A query that failed is taken for an empty answer."""
    real = simulated.SimulatedCluster.jobs

    def jobs(self: Any) -> Any:
        try:
            return real(self)
        except ClusterUnavailableError:
            return []

    patch.setattr(simulated.SimulatedCluster, "jobs", jobs)


def act_before_writing(patch: pytest.MonkeyPatch) -> None:
    """Effects come before their intent is in the journal."""
    patch.setattr(engine.Driver, "_flush", lambda self: True)


def forget_checkpoints(patch: pytest.MonkeyPatch) -> None:
    """The journal loses a field."""
    patch.setitem(codec._DECODE, "checkpoint", lambda data: None)


def delete_the_newest(patch: pytest.MonkeyPatch) -> None:
    """Restarts begin at the oldest checkpoint that is known."""
    real = evolve._saved
    patch.setattr(evolve, "_saved", lambda t, *new: real(t, *new) | ({"restore": t.restore} if t.checkpoints else {}))


def leave_orphans(patch: pytest.MonkeyPatch) -> None:
    """Jobs that nobody wants stay in the queue."""
    patch.setattr(plan, "_orphans", lambda st, view: iter(()))
    patch.setattr(perform.Performer, "sweep", lambda self: None)


def forget_to_settle(patch: pytest.MonkeyPatch) -> None:
    """Ended trials keep their working files, and are called settled."""
    patch.setattr(perform.Performer, "_finalize", lambda self, trial, record: record(e.TrialFinalized(trial.trial_id)))


def run_again(patch: pytest.MonkeyPatch) -> None:
    """A trial that completed gets one more attempt."""
    real = react._completed
    patch.setattr(
        react, "_completed",
        lambda t, reason, spec: e.RetryScheduled(t.trial_id, "again", counts=False) if t.attempts < 2
        else real(t, reason, spec),
    )  # fmt: skip


def drop_results_of_requeued_runs(patch: pytest.MonkeyPatch) -> None:
    """The last words of a run whose job was requeued are thrown away."""
    patch.setitem(transitions.LEGAL, e.ResultReported, frozenset({Phase.RUNNING}))


def lose_a_submission(patch: pytest.MonkeyPatch) -> None:
    """Doubtful submissions are never resolved."""
    real = plan._owed
    patch.setattr(plan, "_owed", lambda t, s, v: (x for x in real(t, s, v) if not isinstance(x, a.Revoke)))


def end_early(patch: pytest.MonkeyPatch) -> None:
    """An interrupted trial is called complete."""
    patch.setattr(
        react, "_interrupted", lambda t, attempt, reason, spec: e.TrialEnded(t.trial_id, Phase.TERMINATED, reason)
    )


def make_fewer_trials(patch: pytest.MonkeyPatch) -> None:
    """The search ends one trial early."""
    real = state.ExperimentState.apply

    def apply(self: Any, recorded: e.Recorded) -> None:
        real(self, recorded)
        if len(self.trials) == self.spec.num_samples - 1:
            self.exhausted = True

    patch.setattr(state.ExperimentState, "apply", apply)


def two_runs_at_a_time(patch: pytest.MonkeyPatch) -> None:
    """A superseded run does not look whether it still holds the trial, nor does a new attempt."""
    real = simulated.SimulatedRun.control

    def control(self: Any) -> Any:
        found = simulated.control_file.read(self.paths.control)
        return real(self) if found is None else found

    patch.setattr(simulated.SimulatedRun, "control", control)
    requeue = simulated.SimulatedCluster.requeue

    def requeue_with_a_seeing_zombie(self: Any, job_id: str, *, zombie: bool = False) -> None:
        requeue(self, job_id, zombie=zombie)
        for run in self.history:
            run.blind = False

    patch.setattr(simulated.SimulatedCluster, "requeue", requeue_with_a_seeing_zombie)


def run_after_the_end(patch: pytest.MonkeyPatch) -> None:
    """Settling leaves the control file, and a late restart does not read what its predecessor wrote."""
    patch.setattr(simulated.SimulatedRun, "_earlier_records", lambda self: [])
    patch.setattr(plan, "_orphans", lambda st, view: iter(()))

    def settle(self: Any, trial: Any, record: Any) -> None:
        record(e.TrialFinalized(trial.trial_id))

    patch.setattr(perform.Performer, "_finalize", settle)
    patch.setattr(simulated.SimulatedCluster, "finished", lambda self, run, *more: self.requeue(run.job.job_id))


def never_settle(patch: pytest.MonkeyPatch) -> None:
    """The experiment ends while trials are still owed their last rites."""
    real = react.finished

    def finished(st: Any) -> Any:
        over = st.exhausted and st.ended is None and not st.live and not st.phases[Phase.PENDING]
        return e.ExperimentEnded("too early") if over else real(st)

    patch.setattr(react, "finished", finished)
    patch.setattr(perform.Performer, "_finalize", lambda self, trial, record: None)


MUTANTS: dict[Patch, str] = {
    resubmit_without_looking: "no submission is repeated",
    count_every_row: "each iteration counts exactly once",
    trust_any_run: "no result of a superseded run counts",
    revoke_on_paper: "a revoked attempt is never claimed",
    outage_means_absence: "no attempt without a cause",
    run_again: "no attempt without a cause",
    act_before_writing: "intent is journaled before its effect",
    forget_checkpoints: "the journal replays to the state",
    delete_the_newest: "a restart begins at the newest checkpoint",
    leave_orphans: "no job is left",
    forget_to_settle: "no working file is left",
    drop_results_of_requeued_runs: "no result is lost",
    end_early: "no result is lost",
    lose_a_submission: "every experiment ends",
    make_fewer_trials: "every trial is made",
    two_runs_at_a_time: "no two runs of a trial have effect",
    run_after_the_end: "a finished trial never runs again",
    never_settle: "every trial is settled",
}


@pytest.mark.nightly
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_mutant_is_caught(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    others = []
    for seed in SEEDS:
        try:
            run_schedule(seed)
        except Violation as violation:
            if violation.invariant == MUTANTS[mutant]:
                return
            others.append(violation.invariant)
        except Exception as error:
            others.append(repr(error))
    pytest.fail(f"{mutant.__name__} did not break {MUTANTS[mutant]!r}, but {others}")


def test_every_invariant_has_a_mutant() -> None:
    source = (Path(__file__).parent / "world.py").read_text()
    named = set(re.findall(r'check\((?:[^"\n]*), "([^"]+)"', source))
    assert named
    assert named == set(MUTANTS.values())
