"""Freeze journals of the version at hand, for every later version to replay: python -m tests.journals.freeze

Makes ``tests/journals/<version>-<name>``; one that exists is never changed. Run it when the format has changed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hpctune.core.state import ExperimentState
from hpctune.core.transitions import acceptable
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Bundle, Resources
from hpctune.model.spec import CheckpointPolicy, ExperimentSpec
from hpctune.model.trial import CheckpointRef, Phase
from hpctune.storage import journal, spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola
from hpctune.version import VERSION

HERE = Path(__file__).parent


def summary(paths: ExperimentPaths) -> dict[str, Any]:
    """What a replay must lead to."""
    state = ExperimentState.fold(spec_file.read(paths), journal.read(paths.journal))
    trials = {
        t.trial_id: {
            "phase": t.phase.value, "results": t.results, "failures": t.failures, "attempts": t.attempts,
            "checkpoints": [c.name for c in t.checkpoints], "last": dict(t.last), "config": repr(dict(t.config)),
            "error": t.error and t.error.kind, "restore": t.restore,
        }
        for t in state.trials.values()
    }  # fmt: skip
    return {"trials": trials, "experiment": [state.ended, state.driven_s, len(state.drivers)]}


def every_event() -> list[list[e.Event]]:
    """Two drivers' facts, with every kind of event and every kind of field."""
    run, second, third = RunKey("t0", 1, 0), RunKey("t0", 2, 0), RunKey("t1", 1, 0)
    wide = Resources((Bundle(2.0, 0.5, 2**30, {"fpga": 1.0}), Bundle()), "SPREAD")
    error = ErrorInfo("ValueError", "bad ü", "Traceback ...\n")
    checkpoint = CheckpointRef("checkpoint_000001", 1, 0.5)
    return [
        [
            e.DriverStarted(1, "login1", 42, VERSION),
            e.TrialAdded("t0", 0, "f_t0", "f_t0_0", "0", {"x": (1, 2), "nan": [0.5]}, {"x": [1, 2]}, wide),
            e.TrialAdded("t1", 1, "f_t1", "f_t1_1", "1_lr=0.1", {"lr": 0.1}, {"lr": 0.1}, Resources(), "/ckpt"),
            e.TrialAdded("t2", 2, "f_t2", "f_t2_2", "2", {}, {}, Resources()),
            e.SubmitRequested("t0", 1), e.SubmitUnanswered("t0", 1, "timed out"), e.MilestoneSet("t0", 1.0),
            e.SubmitAcknowledged("t0", 1, "7"),
            e.JobChanged("t0", 1, "7", JobState.RUNNING, "None", "n[1-2]", 1_700_003_600.0),
            e.RunStarted(run, "7", "n1", 4242, "n[1-2]"),
            e.ResultReported(run, 1, {"training_iteration": 1, "loss": 0.5, "eval": {}}, checkpoint=checkpoint),
            e.MilestoneAnswered("t0", 1.0), e.MilestoneSet("t0", None),
            e.SubmitRequested("t1", 1, "/ckpt"), e.SubmitRefused("t1", 1, "full", False, 30.0),
            e.SubmitRequested("t2", 1), e.AttemptRevoked("t2", 1, "never confirmed"),
            e.BudgetUsed(12.5), e.DriverStopped("told to leave (SIGTERM)"),
        ],
        [
            e.DriverStarted(2, "login2", 43, VERSION), e.ExperimentReopened(3),
            e.JobEnded("t0", 1, JobState.NODE_FAIL, "NodeDown"), e.RetryScheduled("t0", "node failed", False, 31.0),
            e.SubmitRequested("t0", 2, "f_t0_0/checkpoint_000001"), e.SubmitAcknowledged("t0", 2, "8"),
            e.RunStarted(second, "8", "n3", 4243),
            e.ResultReported(second, 1, {"training_iteration": 1, "loss": 9.0}, e.Verdict.REPEATED),
            e.ResultReported(second, 2, {"training_iteration": 2, "loss": 0.25}, checkpoint=CheckpointRef("c2", 2)),
            e.CheckpointDeleted("t0", "checkpoint_000001"),
            e.CommandReceived("abc", "stop", ("t0",)), e.StopRequested("t0", "stopped by hpctune stop"),
            e.ResultReported(second, 3, {"training_iteration": 3}, e.Verdict.OVERRUN),
            e.RunEnded(second, Outcome.STOPPED, "stopped by hpctune stop", None, CheckpointRef("c3", 3)),
            e.TrialEnded("t0", Phase.TERMINATED, "stopped by hpctune stop"), e.TrialFinalized("t0"),
            e.SubmitRequested("t1", 1, "/ckpt"), e.SubmitAcknowledged("t1", 1, "9"), e.RunStarted(third, "9", "n1", 1),
            e.PauseRequested("t1", "rung"), e.RunEnded(third, Outcome.PAUSED, "rung"), e.TrialPaused("t1", "rung"),
            e.ExploitRequested("t1", "t0", "f_t0_0/c2", 2, {"lr": 0.2}, {"lr": 0.2}, "worse", "1_lr=0.2"),
            e.ResourcesChanged("t1", wide, "more"),
            e.TrialResumed("t1"), e.SubmitRequested("t1", 2, "f_t0_0/c2"),
            e.JobChanged("t1", 2, "10", JobState.PENDING, "Priority"),
            e.RunStarted(RunKey("t1", 2, 0), "10", "n1", 2), e.RunGivenUp("t1", 2, error),
            e.TrialEnded("t1", Phase.ERROR, str(error), error),
            e.TrialFinalized("t1"), e.TrialReopened("t1", True), e.TrialEnded("t1", Phase.ERROR, "again", error),
            e.TrialFinalized("t1"), e.SearchExhausted("no more"), e.ExperimentStopRequested("time budget", fatal=True),
            e.StopRequested("t2", "time budget"), e.TrialEnded("t2", Phase.TERMINATED, "time budget"),
            e.TrialFinalized("t2"), e.BudgetUsed(99.25), e.ExperimentEnded("time budget"), e.DriverStopped("finished"),
        ],
    ]  # fmt: skip


def write_every_event(root: Path) -> None:
    """An experiment that never was, of which every fact could have been."""
    paths, at = ExperimentPaths(root), 1_700_000_000.25
    root.mkdir()
    spec = ExperimentSpec("abcde123", "every", at, "f", metric="loss", mode="min", num_samples=3)
    spec_file.write(paths, spec)
    state = ExperimentState(spec)
    for facts in every_event():
        one = journal.Journal(paths.journal)
        for event in facts:
            if isinstance(event, e.TrialEvent):
                assert acceptable(state.trials[e.trial_id_of(event)], event), event
            at += 1.0
            state.apply(e.Recorded(at, event))
            one.append([[e.Recorded(at, event)]])
        one.close()


def simulate(root: Path) -> None:
    """A small search with failures, checkpoints and retention."""
    curve = Curve(
        metrics=hyperbola, iterations=6, checkpoint_every=2, seconds=lambda config: 30.0 + 60 * config["x"],
        fails_at=lambda config: 5 if config["x"] > 0.8 else None,
    )  # fmt: skip
    Simulation(root, num_samples=6, slots=2, curve=curve, max_failures=1, checkpoint=CheckpointPolicy(keep=1)).run()


def main() -> None:
    for name, make in (("every-event", write_every_event), ("simulated", simulate)):
        target = HERE / f"{VERSION}-{name}"
        if target.exists():
            print(f"{target} exists, and stays as it is")
            continue
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory) / "experiment"
            make(root)
            paths = ExperimentPaths(root)
            target.mkdir()
            shutil.copy(paths.spec, target)
            shutil.copytree(paths.journal, target / "journal")
            (target / "expected.json").write_text(json.dumps(summary(paths), indent=1) + "\n")


if __name__ == "__main__":
    main()
