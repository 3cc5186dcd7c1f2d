"""Reports, orders and ends of a run, in this process."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpctune
from hpctune.model.ids import RunKey
from hpctune.model.records import Control, Exit, Outcome, ResultRow, RunRecord
from hpctune.model.resources import Resources
from hpctune.storage import bundle, control_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.run_file import RunTail
from hpctune.worker import context
from hpctune.worker.job import restart_count
from hpctune.worker.main import run_attempt
from hpctune.worker.session import Session

AUTO_FILLED = {
    "attempt", "config", "date", "done", "episodes_total", "experiment_id", "experiment_tag", "hostname",
    "iterations_since_restore", "job_id", "node_ip", "node_list", "pid", "time_since_restore", "time_this_iter_s",
    "time_total_s", "timestamp", "timesteps_since_restore", "timesteps_total", "training_iteration", "trial_id",
}  # fmt: skip


class Lab:
    """One trial whose driver is the test."""

    def __init__(self, root: Path) -> None:
        self.paths = ExperimentPaths(root / "experiment")
        self.trial = self.paths.trial("trial")
        self.trial.root.mkdir(parents=True)

    def run(self, trainable: Any, config: Mapping[str, Any] | None = None, attempt: int = 1, **control: Any) -> Exit:
        """Run an attempt in this process; its exit record."""
        bundle.save(self.paths, trainable, None)
        given = {"config": dict(config or {}), "resources": Resources().to_json(), **control}
        control_file.publish(self.trial.control, Control("e", "t_00000", "name", "0_x=1", attempt, **given))
        assert run_attempt(self.paths.root, "trial", attempt) == 0
        end = self.records(attempt)[-1]
        assert isinstance(end, Exit)
        return end

    def records(self, attempt: int = 1) -> list[RunRecord]:
        return RunTail(self.trial.run(attempt, 0), RunKey("t_00000", attempt, 0)).read()

    def rows(self, attempt: int = 1) -> list[Mapping[str, Any]]:
        return [r.row for r in self.records(attempt) if isinstance(r, ResultRow)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    before = _process()
    yield Lab(tmp_path)
    assert _process() == before, "the process is as it was"


def _process() -> tuple[Path, dict[str, str], list[str]]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "SLURM_"))}
    return Path.cwd(), ours, list(sys.path)


def test_every_row_has_the_auto_filled_fields(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        hpctune.report(loss=1.0, timesteps_this_iter=5, training_iteration=0, trial_id="forged")
        hpctune.report({"loss": 0.5, "nested": {"a": 1}}, timesteps_this_iter=5)

    lab.run(train, {"lr": 0.1, "model": {"depth": 3}})
    first, second = lab.rows()
    assert set(first) >= AUTO_FILLED
    assert (first["training_iteration"], first["trial_id"]) == (1, "t_00000")
    assert (second["timesteps_total"], second["nested"]) == (10, {"a": 1})
    assert first["config"] == {"lr": 0.1, "model": {"depth": 3}}
    assert second["time_total_s"] == pytest.approx(first["time_this_iter_s"] + second["time_this_iter_s"])


def test_values_of_any_library_are_reported(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        hpctune.report(
            a=np.float32(0.5), b=np.int64(3), c=np.array([1, 2]), d=float("nan"), e=float("-inf"), f=np.True_
        )

    lab.run(train)
    row = lab.rows()[0]
    assert (row["a"], row["b"], row["c"], row["e"], row["f"]) == (0.5, 3, [1, 2], -math.inf, True)
    assert math.isnan(row["d"])


def test_what_makes_a_result_too_large_is_left_out_and_said(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    def train(config: dict[str, Any]) -> None:
        for i in range(2):
            hpctune.report(loss=i, blob=np.zeros(500_000), curve=list(range(100_000)), note="small")

    assert lab.run(train).outcome is Outcome.COMPLETED
    first, second = lab.rows()
    assert (first["loss"], first["note"], first["curve"]) == (0, "small", list(range(100_000)))
    assert first["blob"].startswith("(left out: 2.0 MB as text; the limit for a result is 1.0 MB")
    assert second["loss"] == 1
    told = [line for line in capfd.readouterr().err.splitlines() if "left out" in line]
    assert len(told) == 1
    assert "'blob' of a result is left out" in told[0]


def test_a_bare_value_is_called_metric(lab: Lab) -> None:
    lab.run(lambda config: hpctune.report(0.5))
    assert lab.rows()[0]["_metric"] == 0.5


@pytest.mark.parametrize(
    ("criteria", "rows", "reason"),
    [
        ({"training_iteration": 3}, 3, "training_iteration"),
        ({"eval/acc": 0.2}, 2, "eval/acc"),
        ({"flag": True}, 4, "flag"),
        ({"config/limit": 5}, 1, "config/limit"),
    ],
)
def test_criteria_end_the_trial_at_the_report_that_reaches_them(
    lab: Lab, criteria: dict[str, Any], rows: int, reason: str
) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(1, 10):
            hpctune.report({"eval": {"acc": step / 10}, "flag": step == 4})

    end = lab.run(train, {"limit": 5}, criteria=criteria)
    assert end.outcome is Outcome.COMPLETED
    assert reason in end.reason
    assert len(lab.rows()) == rows
    assert [r["done"] for r in lab.rows()] == [False] * (rows - 1) + [True]


def test_done_ends_the_trial(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(10):
            hpctune.report(step=step, done=step == 2)

    assert lab.run(train).outcome is Outcome.COMPLETED
    assert len(lab.rows()) == 3


def test_finally_runs_and_its_error_does_not_change_the_end(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        try:
            hpctune.report(x=1)
        finally:
            Path("seen").write_text("yes")
            raise RuntimeError("while leaving")

    end = lab.run(train, criteria={"x": 1})
    assert (end.outcome, end.error) == (Outcome.COMPLETED, None)
    assert lab.trial.root.joinpath("seen").read_text() == "yes"


def test_an_error_in_a_report_does_not_end_the_session(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        with pytest.raises(hpctune.errors.UsageError):
            hpctune.report()
        with pytest.raises(hpctune.errors.UsageError):
            hpctune.report({"x": 1}, checkpoint="a string")  # type: ignore[arg-type]
        hpctune.report(x=1)

    assert lab.run(train).outcome is Outcome.COMPLETED
    assert len(lab.rows()) == 1


def test_reports_from_threads_are_counted_once_each(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        threads = [threading.Thread(target=lambda: [hpctune.report(x=1) for _ in range(20)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    lab.run(train)
    assert [r["training_iteration"] for r in lab.rows()] == list(range(1, 81))


def test_the_context_tells_where_the_trial_is(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        here = hpctune.get_context()
        hpctune.report(
            ids=[here.get_trial_id(), here.get_trial_name(), hpctune.get_trial_dir(), here.get_experiment_name()],
            enabled=hpctune.is_session_enabled(),
            resources=here.get_trial_resources().bundles,
            child=[os.environ["HPCTUNE_TRIAL_ID"], os.environ["HPCTUNE_TRIAL_DIR"]],
        )

    lab.run(train)
    row = lab.rows()[0]
    assert row["ids"] == ["t_00000", "name", str(lab.trial.root), "experiment"]
    assert (row["enabled"], row["resources"]) == (True, [{"CPU": 1.0}])
    assert row["child"] == ["t_00000", str(lab.trial.root)]
    assert not hpctune.is_session_enabled()
    assert hpctune.get_trial_id() is None


def test_outside_a_trial_a_report_warns_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "_warned", False)
    hpctune.report(x=1)
    hpctune.report(x=1)
    assert capsys.readouterr().err.count("outside a trial") == 1
    assert hpctune.get_checkpoint() is None


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_a_later_attempt_goes_on_where_the_checkpoint_was(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        start = hpctune.get_checkpoint()
        first = start.to_dict()["step"] + 1 if start is not None else 1
        for step in range(first, first + 3):
            hpctune.report(
                {"step": step, "timesteps_this_iter": 2}, checkpoint=hpctune.Checkpoint.from_dict({"step": step})
            )

    lab.run(train)
    lab.run(train, attempt=2, restore=str(lab.trial.root / "checkpoint_000003"))
    again = lab.rows(2)
    assert [(r["step"], r["training_iteration"], r["iterations_since_restore"]) for r in again] == [
        (4, 4, 1),
        (5, 5, 2),
        (6, 6, 3),
    ]
    assert (again[-1]["timesteps_total"], again[-1]["timesteps_since_restore"]) == (12, 6)
    assert again[0]["time_total_s"] > lab.rows(1)[-1]["time_total_s"]
    assert lab.trial.root.joinpath("checkpoint_000006-2.0").is_dir()


def test_a_foreign_checkpoint_starts_at_zero(lab: Lab, tmp_path: Path) -> None:
    tmp_path.joinpath("foreign").mkdir()

    def train(config: dict[str, Any]) -> None:
        assert hpctune.get_checkpoint() is not None
        hpctune.report(x=1)

    lab.run(train, restore=str(tmp_path / "foreign"))
    assert lab.rows()[0]["training_iteration"] == 1


def test_a_missing_restore_point_fails_the_trial(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpctune.worker.main.VISIBLE_WITHIN_S", 0.2)
    end = lab.run(lambda config: None, restore=str(tmp_path / "nothing"))
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert str(tmp_path / "nothing") in end.error.message


def test_checkpoint_dir_is_saved_with_the_next_report(lab: Lab) -> None:
    def train(config: dict[str, Any], checkpoint_dir: str | None = None) -> None:
        for step in range(1, 4):
            with hpctune.checkpoint_dir(step=step) as directory:
                Path(directory, "step").write_text(str(step))
            if step < 3:
                hpctune.report(step=step)

    end = lab.run(train)
    named = [r.checkpoint for r in lab.records() if isinstance(r, ResultRow)]
    assert named == ["checkpoint_000001", "checkpoint_000002"]
    assert end.checkpoint is not None, "written after the last report"
    assert lab.trial.root.joinpath(end.checkpoint, "step").read_text() == "3"
    assert not [p for p in lab.trial.root.iterdir() if p.name.startswith(".")]


# -- what is told ------------------------------------------------------------------------------------------------------


def test_an_unreadable_control_file_says_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpctune.worker.session.LOOK_S", 0.0)

    def train(config: dict[str, Any]) -> None:
        control = Path("control.json")
        hpctune.report(x=1)
        whole = control.read_bytes()
        control.write_bytes(b"{")
        hpctune.report(x=2)
        control.write_bytes(whole)
        hpctune.report(x=3)

    assert lab.run(train).outcome is Outcome.COMPLETED
    assert len(lab.rows()) == 3


def test_a_milestone_is_waited_for_only_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    really = Session._await_decision
    monkeypatch.setattr(Session, "_await_decision", lambda self, value: (waits.append(value), really(self, value)))

    def train(config: dict[str, Any]) -> None:
        for step in range(1, 6):
            hpctune.report(step=step)

    lab.run(train, milestone=2.0, decision_timeout_s=0.01)
    rows = lab.rows()
    assert (len(rows), waits) == (5, [2.0])
    assert sum(r["time_this_iter_s"] for r in rows) == pytest.approx(rows[-1]["time_total_s"])


def test_an_answered_milestone_is_passed_at_once(lab: Lab) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(1, 4):
            hpctune.report(step=step)

    lab.run(train, milestone=2.0, answered=2.0, decision_timeout_s=600.0)
    assert len(lab.rows()) == 3


# -- which run it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, 0),
        ({"SLURM_JOB_ID": "5"}, 0),
        ({"SLURM_JOB_ID": "5", "SLURM_RESTART_COUNT": "2"}, 2),
        ({"SLURM_JOB_ID": "5", "HPCTUNE_JOB_ID": "5", "SLURM_RESTART_COUNT": "2"}, 2),
        ({"SLURM_JOB_ID": "5", "HPCTUNE_JOB_ID": "debug-1", "SLURM_RESTART_COUNT": "2"}, 0),
        ({"HPCTUNE_JOB_ID": "local-1", "SLURM_RESTART_COUNT": "2"}, 0),
    ],
)
def test_only_the_trials_own_job_counts_restarts(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: int
) -> None:
    for name in ("SLURM_JOB_ID", "HPCTUNE_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert restart_count() == expected


def _restarted(lab: Lab, monkeypatch: pytest.MonkeyPatch, count: int) -> Callable[[], None]:
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(count))
    bundle.save(lab.paths, lambda config: hpctune.report(x=1), None)
    control = Control("e", "t_00000", "name", "0", 1, config={}, resources=Resources().to_json())
    control_file.publish(lab.trial.control, control)

    def go() -> None:
        assert run_attempt(lab.paths.root, "trial", 1) == 0

    return go


def test_a_job_restarted_before_its_first_claim_leaves_no_gap(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    _restarted(lab, monkeypatch, 2)()
    assert [p.name for p in lab.trial.root.glob("run-*")] == ["run-1.0.jsonl"]


def test_a_revoked_attempt_is_not_run_by_a_restarted_job(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpctune.storage import run_file

    go = _restarted(lab, monkeypatch, 1)
    assert run_file.revoke(lab.trial.run(1, 0), RunKey("t_00000", 1, 0), 0.0)
    go()
    assert [p.name for p in lab.trial.root.glob("run-*")] == ["run-1.0.jsonl"]
    assert lab.rows() == []
