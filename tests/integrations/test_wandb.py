"""W&B, with the real package, offline."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import hpctune as tune
from hpctune.errors import UsageError
from hpctune.integration import wandb_files
from tests.integrations.searches import killed_and_resumed, text_of

pytest.importorskip("wandb")


def history(directory: Path, run_id: str) -> list[tuple[int, dict[str, object]]]:
    return [row for path in wandb_files.files_of(directory, run_id) for row in wandb_files.history(path)]


def test_a_killed_driver_and_a_failed_trial_go_on_in_the_same_runs(tmp_path: Path) -> None:
    callback = """from hpctune.integration.wandb import WandbLoggerCallback
callback = WandbLoggerCallback(project="p", api_key="s3cr3t" * 7, mode="offline", upload_checkpoints=True)"""
    killed_and_resumed(tmp_path, callback, {})
    trials = sorted(path for path in (tmp_path / "exp").glob("train_*") if path.is_dir())
    assert len(trials) == 2
    for trial in trials:
        run_id = trial.name.split("_", 1)[1].rsplit("_x-", 1)[0].rsplit("_", 1)[0]
        rows = history(trial, run_id)
        assert [step for step, _ in rows] == list(range(8))
        assert [row["training_iteration"] for _, row in rows] == list(range(1, 9))
        assert [row["nested/a"] for _, row in rows] == list(range(1, 9))
    assert b"s3cr3t" not in text_of(tmp_path)


def test_the_service_of_another_process_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is started by a process with runs of its own, such as a notebook, has a service of its own."""
    code = "import os; from hpctune.integration import wandb; wandb._package('x'); print(os.environ.get(wandb.SERVICE))"
    monkeypatch.setenv("WANDB_SERVICE", "2-1-unix-/nothing/there")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


def test_setup_in_a_trial_goes_on_in_the_same_run(tmp_path: Path) -> None:
    def train(config: dict[str, float]) -> None:
        from hpctune.integration.wandb import setup_wandb

        checkpoint = tune.get_checkpoint()
        start = checkpoint.to_dict()["step"] if checkpoint else 0
        run = setup_wandb(config, project="p")
        for step in range(start + 1, 5):
            run.log({"loss": step})
            tune.report({"loss": step}, checkpoint=tune.Checkpoint.from_dict({"step": step}))
            if step == 2:
                raise RuntimeError("once")

    analysis = tune.run(train, config={"x": 1}, name="e", local_dir=str(tmp_path), max_failures=1, verbose=0)
    trial = analysis.trials[0]
    rows = history(Path(trial.local_path), trial.trial_id)
    assert [(step, row["loss"]) for step, row in rows] == [(0, 1), (1, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize("how", ["base", "decorator"])
def test_a_class_with_the_mixin_has_its_run(tmp_path: Path, how: str) -> None:
    from hpctune.integration.wandb import WandbTrainableMixin, wandb_mixin

    class Train(*((WandbTrainableMixin,) if how == "base" else ()), tune.Trainable):  # type: ignore[misc]
        def step(self) -> dict[str, float]:
            self.wandb.log({"loss": 7})
            return {"loss": 7, "done": True}

    if how == "decorator":
        wandb_mixin(Train)

    config = {"x": 1, "wandb": {"project": "p"}}
    trial = tune.run(Train, config=config, name="e", local_dir=str(tmp_path), verbose=0).trials[0]
    assert [row["loss"] for _, row in history(Path(trial.local_path), trial.trial_id)] == [7]


def test_the_key_is_not_pickled_and_not_in_a_config() -> None:
    from hpctune.integration.wandb import WandbLoggerCallback, wandb_mixin

    assert b"s3cr3t" not in pickle.dumps(WandbLoggerCallback("p", api_key="s3cr3t"))
    with pytest.raises(UsageError, match="stored with the results"):
        wandb_mixin(lambda config: None)({"wandb": {"project": "p", "api_key": "s3cr3t"}})
    with pytest.raises(UsageError, match="not both"):
        WandbLoggerCallback("p", api_key="a", api_key_file="b")
    with pytest.raises(UsageError, match="/nothing/here"):
        WandbLoggerCallback("p", api_key_file="/nothing/here")


@pytest.mark.nightly
def test_without_a_way_to_w_and_b_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpctune.integration.wandb import WandbLoggerCallback

    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    callback = WandbLoggerCallback("p", api_key="a" * 40, settings={"init_timeout": 2})
    analysis = tune.run(
        lambda config: tune.report(loss=1), name="e", local_dir=str(tmp_path), callbacks=[callback], verbose=0
    )
    trial = analysis.trials[0]
    assert [row["loss"] for _, row in history(Path(trial.local_path), trial.trial_id)] == [1]


@pytest.mark.parametrize("where", ["wandb", "logger_config"])
def test_the_logger_class_of_earlier_scripts(tmp_path: Path, where: str) -> None:
    from hpctune.integration.wandb import WandbLogger

    settings = {"project": "p", "excludes": ["secret"], "tags": ["t"]}
    config = {"x": 1, where: settings if where == "wandb" else {"wandb": settings}}
    analysis = tune.run(
        lambda config: tune.report(loss=config["x"], secret=2), config=config, name="e", local_dir=str(tmp_path),
        loggers=[*tune.logger.DEFAULT_LOGGERS, WandbLogger], verbose=0,
    )  # fmt: skip
    trial = analysis.trials[0]
    ((_, row),) = history(Path(trial.local_path), trial.trial_id)
    assert row["loss"] == 1
    assert "secret" not in row
    assert (Path(trial.local_path) / "progress.csv").exists()


def test_the_logger_class_needs_its_settings(tmp_path: Path) -> None:
    from hpctune.integration.wandb import WandbLogger

    with pytest.raises(Exception, match=r'WandbLogger needs config\["wandb"\]'):
        tune.run(lambda config: {"loss": 1}, name="e", local_dir=str(tmp_path), loggers=[WandbLogger], verbose=0)
