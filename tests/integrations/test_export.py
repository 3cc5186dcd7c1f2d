"""``hpctune export``, read back by the packages for which it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hpctune.cli.main import cli
from hpctune.errors import TuneError, UsageError
from tests.support.output_support import Recorder, usual


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_PROJECT_NAME", "WANDB_GROUP_NAME"):
        monkeypatch.delenv(name, raising=False)


def export(*words: str) -> str:
    done = CliRunner().invoke(cli, ["export", "exp", "--to", *words], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def going_on(made: Recorder) -> None:
    """The trial that runs reports once more and ends; the one that waits starts."""
    made.report("1f3a9_00003", [{"loss": 0.5}])
    made.finish("1f3a9_00003")
    made.record(*_started(made, "1f3a9_00004"))


def _started(made: Recorder, trial_id: str) -> list[Any]:
    from hpctune.model import events as e
    from hpctune.model.ids import RunKey

    return [e.RunStarted(RunKey(trial_id, 1, 0), "104", "node1", 1, "node1")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("store", ["mlflow.db", pytest.param("runs", marks=pytest.mark.nightly)])
def test_mlflow(tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    made = usual(tmp_path / "exp")
    target = [] if store == "mlflow.db" else ["-o", store]
    assert "experiment 'exp', 4 runs\nLook at them: mlflow ui --backend-store-uri" in export("mlflow", *target)
    going_on(made)
    assert "experiment 'exp', 5 runs" in export("mlflow", *target)
    assert "experiment 'exp', 5 runs" in export("mlflow", *target)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / store).as_uri() if store == "runs" else f"sqlite:///{tmp_path / store}"
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("exp").experiment_id], order_by=["start_time"])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED", "FAILED", "FINISHED", "RUNNING"]
    assert [run.data.params["lr"] for run in runs] == ["0.1", "0.01", "0.5", "0.2", "0.3"]
    assert runs[0].info.end_time - runs[0].info.start_time == 4000
    assert runs[2].data.tags["hpctune.state"] == "failed"
    assert "no memory" in runs[2].data.tags["hpctune.error"]
    histories = [client.get_metric_history(run.info.run_id, "loss") for run in runs]
    assert [(m.step, m.value) for m in histories[3]] == [(1, 5.0), (2, 0.5)]
    assert [len(history) for history in histories] == [2, 2, 1, 2, 0]
    assert [m.value for m in client.get_metric_history(runs[1].info.run_id, "eval/acc")] == [0.9, 0.5]


def test_mlflow_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    usual(tmp_path / "exp")
    with pytest.raises(TuneError, match="MLflow has not taken all trials: MlflowException"):
        export("mlflow", "-o", "http://127.0.0.1:9")
    (tmp_path / "notes.db").write_text("my notes")
    with pytest.raises(UsageError, match="exists and is not an SQLite database"):
        export("mlflow", "-o", "notes.db")


@pytest.mark.filterwarnings("ignore")
def test_wandb(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from hpctune.integration.wandb_files import files_of, history

    made = usual(tmp_path / "exp")
    said = export("wandb", "--name", "mine")
    assert f"4 runs of project 'mine'\nUpload them, from a machine with internet: wandb sync {tmp_path}" in said
    going_on(made)
    export("wandb", "--name", "mine")
    export("wandb", "--name", "mine")
    folder = tmp_path / "exp-wandb"
    found = {f"1f3a9_0000{n}": files_of(folder, f"1f3a9_0000{n}") for n in range(5)}
    assert [len(files) for files in found.values()] == [1, 1, 1, 2, 1]
    rows = [(step, row["loss"]) for file in found["1f3a9_00003"] for step, row in history(file) if "loss" in row]
    assert rows == [(0, 5.0), (1, 0.5)]
    for word in (b"mine", b"1f3a9_00003", b"hpctune/state"):
        assert word in found["1f3a9_00003"][0].read_bytes()


def test_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams import metadata

    made = usual(tmp_path / "exp")
    export("tensorboard")
    going_on(made)
    said = export("tensorboard")
    assert (
        said == f"{tmp_path}/exp-tensorboard: 4 runs\nLook at them: tensorboard --logdir {tmp_path}/exp-tensorboard\n"
    )
    folders = sorted((tmp_path / "exp-tensorboard").iterdir())
    assert [len(list(folder.iterdir())) for folder in folders] == [1, 1, 1, 1]
    found = accumulator.EventAccumulator(str(folders[3]))
    found.Reload()
    assert [(x.step, x.value) for x in found.Scalars("loss")] == [(1, 5.0), (2, 0.5)]
    assert {"eval/acc", "~info/time_total_s"} <= set(found.Tags()["scalars"])
    known = found.summary_metadata["_hparams_/experiment"].plugin_data.content
    assert [i.name.tag for i in metadata.parse_experiment_plugin_data(known).metric_infos] == ["loss"]


def test_tables(tmp_path: Path) -> None:
    usual(tmp_path / "exp")
    assert export("csv") == f"{tmp_path}/exp.csv (5 rows)\n"
    with Path("exp.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["completed", "completed", "failed", "running", "waiting"]
    assert [row["config/lr"] for row in rows] == ["0.1", "0.01", "0.5", "0.2", "0.3"]
    assert [row["loss"] for row in rows] == ["1.0", "2.0", "nan", "5.0", ""]
    assert float(rows[0]["ended_at"]) - float(rows[0]["started_at"]) == 4.0
    export("json", "--rows", "-o", "results.json")
    every = json.loads(Path("results.json").read_text())
    assert [(row["trial_id"], row["loss"]) for row in every][:4] == [
        ("1f3a9_00000", 3.0), ("1f3a9_00000", 1.0), ("1f3a9_00001", 0.25), ("1f3a9_00001", 2.0),
    ]  # fmt: skip
    assert every[0]["config/net/width"] == 8
    with pytest.raises(UsageError, match=r"exp\.csv exists. Replace it with --force"):
        export("csv")
    export("csv", "--force")


def test_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pandas

    made = Recorder(tmp_path / "exp")
    for units in (8, [4, 2], "auto"):
        trial = made.add(units=units, lr=1)
        made.start(trial)
        made.report(trial, [{"loss": 1.0, "note": None}, {"loss": 2, "note": "late"}])
    export("parquet")
    found = pandas.read_parquet("exp.parquet")
    assert found["config/units"].tolist() == ["8", "[4, 2]", "auto"]
    assert found["config/lr"].tolist() == [1, 1, 1]
    assert found["loss"].tolist() == [2.0, 2.0, 2.0]
    assert pandas.isna(found["ended_at"][0])
    export("parquet", "--rows", "--force")
    assert len(pandas.read_parquet("exp.parquet")) == 6


def test_optuna(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    usual(tmp_path / "exp")
    assert "study 'exp', 5 trials (5 new, 0 changed, 0 same)\nLook at it: optuna-dashboard sqlite:///" in export(
        "optuna"
    )
    assert "(0 new, 0 changed, 5 same)" in export("optuna")
    found = optuna.load_study(study_name="exp", storage="sqlite:///exp.db")
    assert len(found.trials) == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("csv", "--name", "x"), "--name says nothing about --to csv. It belongs to: --to optuna, --to mlflow"),
        (("mlflow", "--rows"), "--rows says nothing about --to mlflow"),
        (("csv", "-o", "no/exp.csv"), "There is no folder"),
        (("csv", "-o", "exp"), "is a folder"),
        (("wandb", "-o", "file"), "file is a file. Name a folder"),
        (("optuna", "--metric", "acc", "--mode", "max"), "acc"),
    ],
)
def test_what_cannot_be_exported(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    usual(tmp_path / "exp")
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=says):
        export(*words)
    assert sorted(tmp_path.iterdir()) == before
