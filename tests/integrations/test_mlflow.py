"""MLflow, with the real package."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import hpctune as tune
from hpctune.integration.tracker import without_password
from tests.integrations.searches import killed_and_resumed, text_of

pytest.importorskip("mlflow")


@contextlib.contextmanager
def mlflow_server(place: Path) -> Iterator[str]:
    """The address of a real server on loopback, which keeps its runs in ``place``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--backend-store-uri", f"sqlite:///{place}/server.db", "--workers", "1"]
    said = place / "server.log"
    with said.open("w") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, cwd=place, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10):
                break
            assert server.poll() is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("store", ["files", "sqlite"])
def test_a_killed_driver_and_a_failed_trial_go_on_in_the_same_runs(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = (tmp_path / "runs").as_uri() if store == "files" else f"sqlite:///{tmp_path}/runs.db"
    _goes_on_in_the_same_runs(tmp_path, uri, monkeypatch)


@pytest.mark.nightly
@pytest.mark.skipif(
    not any(metadata.distributions(name="mlflow")), reason="the server is in the package mlflow, not in mlflow-skinny"
)
@pytest.mark.filterwarnings("ignore")
def test_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mlflow_server(tmp_path) as address:
        _goes_on_in_the_same_runs(tmp_path, address, monkeypatch)


def _goes_on_in_the_same_runs(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    callback = f"""from hpctune.integration.mlflow import MLflowLoggerCallback
callback = MLflowLoggerCallback({uri!r}, experiment_name="m", tags={{"a": 1}}, tracking_token="s3cr3t")"""
    killed_and_resumed(tmp_path, callback, {})
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("m").experiment_id])
    assert sorted(run.data.params["x"] for run in runs) == ["1", "2"]
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.tags["a"] == "1"
        for key in ("loss", "nested/a", "training_iteration"):
            found = client.get_metric_history(run.info.run_id, key)
            assert sorted(metric.step for metric in found) == list(range(1, 9)), key
    assert b"s3cr3t" not in text_of(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_setup_in_a_trial_goes_on_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: dict[str, float]) -> None:
        from hpctune.integration.mlflow import setup_mlflow

        checkpoint = tune.get_checkpoint()
        start = checkpoint.to_dict()["step"] if checkpoint else 0
        mlflow = setup_mlflow(config)
        for step in range(start + 1, 5):
            mlflow.log_metric("loss", step, step=step)
            tune.report({"loss": step}, checkpoint=tune.Checkpoint.from_dict({"step": step}))
            if step == 2:
                raise RuntimeError("once")

    from mlflow.tracking import MlflowClient

    analysis = tune.run(train, config={"x": 1}, name="e", local_dir=str(tmp_path), max_failures=1, verbose=0)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(f"file://{analysis.trials[0].local_path}/mlruns")
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert sorted(m.step for m in client.get_metric_history(run.info.run_id, "loss")) == [1, 2, 3, 4]
    assert run.data.params == {"x": "1"}
    assert run.info.status == "FINISHED"


@pytest.mark.nightly
def test_a_run_of_a_trial_that_fails_has_failed(tmp_path: Path) -> None:
    def train(config: dict[str, str]) -> None:
        from hpctune.integration.mlflow import setup_mlflow

        setup_mlflow(tracking_uri=config["uri"]).log_metric("loss", 1)
        raise RuntimeError("as told")

    from mlflow.tracking import MlflowClient

    config = {"uri": f"sqlite:///{tmp_path}/new/runs.db"}
    tune.run(train, config=config, name="e", local_dir=str(tmp_path), verbose=0, raise_on_failed_trial=False)
    client = MlflowClient(config["uri"])
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert run.info.status == "FAILED"


def test_a_process_that_is_killed_while_the_tables_are_made_leaves_no_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.db import utils

    from hpctune.integration.mlflow import _client

    def killed(engine: object) -> None:
        raise SystemExit

    uri = f"sqlite:///{tmp_path}/runs.db"
    with monkeypatch.context() as patched:
        patched.setattr(utils, "_upgrade_db", killed)
        with pytest.raises(SystemExit):
            _client(uri, None, None)
    assert not (tmp_path / "runs.db").exists()
    assert len(_client(uri, None, None).search_experiments()) == 1


def test_no_secret_is_pickled_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from hpctune.integration.mlflow import MLflowLoggerCallback, _with_password

    assert b"s3cr3t" not in pickle.dumps(MLflowLoggerCallback(tracking_token="s3cr3t"))
    uri = "postgresql://me:s3cr3t@host/db"
    stored = pickle.loads(pickle.dumps(MLflowLoggerCallback(uri))).tracking_uri
    assert stored == "postgresql://me@host/db"
    assert without_password(f"GET {uri}: refused, see http://a:8/b@c") == f"GET {stored}: refused, see http://a:8/b@c"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert [_with_password(one) for one in (stored, "http://host", None)] == [uri, "http://host", None]


def test_a_server_that_is_down_neither_delays_nor_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpctune.integration.mlflow import MLflowLoggerCallback

    monkeypatch.setenv("HPCTUNE_TRACKER_WAIT_S", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    callback = MLflowLoggerCallback("http://127.0.0.1:9")
    analysis = tune.run(
        lambda config: tune.report(loss=1), name="e", local_dir=str(tmp_path), callbacks=[callback], verbose=0
    )
    assert analysis.trials[0].last_result["loss"] == 1
    later = MLflowLoggerCallback((tmp_path / "runs").as_uri(), experiment_name="m")
    monkeypatch.setenv("HPCTUNE_TRACKER_WAIT_S", "30")
    tune.run(
        lambda config: tune.report(loss=1), name="e", local_dir=str(tmp_path), callbacks=[later], verbose=0, resume=True
    )
    from mlflow.tracking import MlflowClient

    client = MlflowClient((tmp_path / "runs").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("m").experiment_id])
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss")] == [1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", ["logger_config", "mlflow"])
def test_the_logger_class_of_earlier_scripts(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    from hpctune.integration.mlflow import MLflowLogger

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "runs").as_uri()
    client = MlflowClient(uri)
    number = client.create_experiment("mine")
    settings = {
        "logger_config": {"mlflow_tracking_uri": uri, "mlflow_experiment_id": number},
        "mlflow": {"tracking_uri": uri, "experiment_name": "mine"},
    }
    tune.run(
        lambda config: tune.report(loss=config["x"]), config={"x": 3, key: settings[key]}, name="e",
        local_dir=str(tmp_path), loggers=(*tune.logger.DEFAULT_LOGGERS, MLflowLogger), verbose=0,
    )  # fmt: skip
    (run,) = client.search_runs([number])
    assert (run.data.metrics["loss"], run.data.params, run.info.status) == (3, {"x": "3"}, "FINISHED")
