"""Experiments written as a driver writes them: a definition, and facts in a journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import CheckpointRef, Phase
from hpctune.storage import spec_file
from hpctune.storage.journal import Journal
from hpctune.storage.layout import ExperimentPaths
from hpctune.trial import Trial

T0 = 1_700_000_000.0


class Recorder:
    """Records facts; each takes one second."""

    def __init__(self, root: Path, **spec: Any) -> None:
        self.paths = ExperimentPaths(root)
        root.mkdir(parents=True)
        settings = {"metric": "loss", "mode": "min", "num_samples": 4} | spec
        self.spec = ExperimentSpec("1f3a9c", root.name, T0, "train", **settings)
        spec_file.write(self.paths, self.spec)
        self.state, self.now = ExperimentState(self.spec), T0
        self._journal = Journal(self.paths.journal)
        self.record(e.DriverStarted(1, "login1", 4711, "0.1"))

    def record(self, *events: e.Event) -> None:
        for event in events:
            self.now += 1.0
            recorded = e.Recorded(self.now, event)
            self.state.apply(recorded)
            self._journal.append([[recorded]])

    def add(self, **config: Any) -> str:
        index = len(self.state.trials)
        trial_id = f"1f3a9_{index:05d}"
        tag = ",".join([str(index), *(f"{k}={v}" for k, v in config.items())])
        names = (f"train_{trial_id}", f"train_{trial_id}_{tag}")
        self.record(e.TrialAdded(trial_id, index, *names, tag, config, config, Resources()))
        self.paths.trial(names[1]).root.mkdir()
        return trial_id

    def queue(self, trial_id: str, reason: str = "") -> None:
        number = self.state.trials[trial_id].attempts + 1
        job_id = f"{100 + self.state.trials[trial_id].index}"
        self.record(e.SubmitRequested(trial_id, number), e.SubmitAcknowledged(trial_id, number, job_id))
        if reason:
            self.record(e.JobChanged(trial_id, number, job_id, JobState.PENDING, reason))

    def start(self, trial_id: str, host: str = "node1") -> None:
        self.queue(trial_id)
        number = self.state.trials[trial_id].attempts
        index = self.state.trials[trial_id].index
        self.record(e.RunStarted(RunKey(trial_id, number, 0), f"{100 + index}", host, 1, host))

    def report(self, trial_id: str, rows: Sequence[Mapping[str, Any]], checkpoints: bool = False) -> None:
        for row in rows:
            trial = self.state.trials[trial_id]
            run = trial.run
            assert run is not None
            assert trial.attempt is not None
            iteration = trial.results + 1
            full = {
                **row,
                "training_iteration": iteration,
                "time_total_s": 2.0 * iteration,
                "timestamp": int(T0) + iteration,
                "trial_id": trial_id,
                "hostname": "node1",
                "config": dict(trial.config),
            }
            ref = CheckpointRef(f"checkpoint_{iteration:06d}", iteration) if checkpoints else None
            self.record(e.ResultReported(run, trial.attempt.seq + 1, full, e.Verdict.COUNTED, ref))

    def fail(self, trial_id: str, message: str = "no memory", again: bool = False) -> None:
        """``again``: it is tried again."""
        run = self.state.trials[trial_id].run
        assert run is not None
        error = ErrorInfo("ValueError", message, f"Traceback (most recent call last):\n  ...\nValueError: {message}\n")
        self.record(e.RunEnded(run, Outcome.FAILED, "raised", error))
        self.record(
            e.RetryScheduled(trial_id, "failed", counts=True)
            if again
            else e.TrialEnded(trial_id, Phase.ERROR, "failed", error)
        )

    def finish(self, trial_id: str) -> None:
        run = self.state.trials[trial_id].run
        assert run is not None
        self.record(e.RunEnded(run, Outcome.COMPLETED, "returned"))
        self.record(e.TrialEnded(trial_id, Phase.TERMINATED, ""), e.TrialFinalized(trial_id))

    def view(self, trial_id: str) -> Trial:
        return Trial(self.state.trials[trial_id], self.paths, self.spec)


def usual(root: Path) -> Recorder:
    """Two trials that are over, one that failed, one that runs, one that waits in the queue."""
    made = Recorder(root)
    first, second, third, fourth, fifth = (made.add(lr=lr, net={"width": 8}) for lr in (0.1, 0.01, 0.5, 0.2, 0.3))
    made.start(first)
    made.report(first, [{"loss": 3.0, "eval": {"acc": 0.1}}, {"loss": 1.0, "eval": {"acc": 0.6}}], checkpoints=True)
    made.finish(first)
    made.start(second)
    made.report(second, [{"loss": 0.25, "eval": {"acc": 0.9}}, {"loss": 2.0, "eval": {"acc": 0.5}}], checkpoints=True)
    made.finish(second)
    made.start(third)
    made.report(third, [{"loss": float("nan")}])
    made.fail(third)
    made.start(fourth, "node7")
    made.report(fourth, [{"loss": 5.0, "eval": {"acc": 0.2}}])
    made.queue(fifth, "Resources")
    return made
