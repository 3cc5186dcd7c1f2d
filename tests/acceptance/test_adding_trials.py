"""`hpctune add`, the client API and notes, on experiments that run here."""

from __future__ import annotations

import json
import pickle
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.cli import commands
from hpctune.errors import TuneError, UsageError
from hpctune.storage.reader import read_experiment
from hpctune.web_server import TuneClient

CONFIG = """
import pathlib, time
import hpctune as tune

def train(config):
    tune.report({"loss": config["lr"]})
    while not pathlib.Path(config["go"]).exists():
        time.sleep(0.05)
        tune.report({"loss": config["lr"]})

tuner = tune.Tuner(
    train,
    param_space={"lr": tune.uniform(0, 1), "m": {"k": tune.choice([1, 2])}, "go": GO},
    tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=2, max_concurrent_trials=2),
    run_config=tune.RunConfig(name="exp", storage_path="results", verbose=0),
)
"""


def hpctune(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["hpctune", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)


def test_trials_are_added_while_a_driver_runs_and_after_its_end(tmp_path: Path) -> None:
    go = tmp_path / "go"
    (tmp_path / "config.py").write_text(CONFIG.replace("GO", repr(str(go))))
    root = tmp_path / "results" / "exp"
    driver = subprocess.Popen(["hpctune", "run", "config.py", "--cluster", "local"], cwd=tmp_path)
    try:
        while not (root / "experiment.json").exists() or not read_experiment(root).state.trials:
            assert driver.poll() is None
        (tmp_path / "more.csv").write_text("lr,m/k\n0.5,2\n0.6,1\n")
        done = hpctune(tmp_path, "add", str(root), "--from", "more.csv", "--dry-run")
        assert done.stdout.split("\n")[:2] == ["  lr=0.5, m/k=2", "  lr=0.6, m/k=1"]
        done = hpctune(tmp_path, "add", str(root), "--from", "more.csv")
        assert "Told the driver to run 2 trials more" in done.stdout
        done = hpctune(tmp_path, "add", str(root), "lr=7", "--like", "0")
        assert done.returncode == 0, done.stderr
        for wrong, said in (
            (["lrr=1"], "Did you mean 'lr'"),
            ([], "Nothing was given"),
            (["lr"], "is not NAME=DOMAIN"),
        ):
            done = hpctune(tmp_path, "add", "--dir", str(root), *wrong)
            assert (done.returncode, said in done.stderr) == (2, True), done.stderr
        go.touch()
        assert driver.wait(60) == 0
    finally:
        driver.kill()
        driver.wait()
    trials = list(read_experiment(root).state.trials.values())
    assert [t.config["lr"] for t in trials[2:]] == [0.5, 0.6, 7]
    assert trials[4].config["m"] == trials[0].config["m"]
    done = hpctune(tmp_path, "add", str(root), "lr=0.1,0.2", "--grid")
    assert "The experiment is over. To run 2 trials: hpctune resume" in done.stdout
    assert hpctune(tmp_path, "resume", str(root)).returncode == 0
    trials = list(read_experiment(root).state.trials.values())
    assert [t.config["lr"] for t in trials[5:]] == [0.1, 0.2]
    assert "Nothing left to do" in hpctune(tmp_path, "resume", str(root)).stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Path, list[Any]]]:
    """The port of a search that runs in a thread of this process; its directory; its results when it has ended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    go, port = tmp_path / "go", free_port()

    def train(config: dict[str, Any]) -> None:
        import time

        tune.report({"loss": config["lr"]})
        while not Path(config["go"]).exists():
            time.sleep(0.05)
            tune.report({"loss": config["lr"]})

    ended: list[Any] = []
    space = {"lr": tune.uniform(0, 1), "go": str(go)}

    def search() -> None:
        where: dict[str, Any] = {"name": "exp", "storage_path": tmp_path, "server_port": port, "cluster": "local"}
        ended.append(tune.run(train, config=space, metric="loss", mode="min", num_samples=2, verbose=0, **where))

    monkeypatch.setenv("HPCTUNE_DISABLE_SIGINT_HANDLER", "1")
    thread = threading.Thread(target=search)
    thread.start()
    try:
        while not list((tmp_path / "state" / "hpctune" / "servers").glob(f"*-{port}.token")):
            assert thread.is_alive()
        yield port, tmp_path / "exp", ended
    finally:
        go.touch()
        thread.join(60)
    assert not thread.is_alive()


def test_the_client_sees_adds_and_stops(served: tuple[int, Path, list[Any]]) -> None:
    port, root, ended = served
    client = TuneClient("localhost", port)
    while len(trials := client.get_all_trials()["trials"]) < 2 or trials[0]["result"] is None:
        pass
    assert set(trials[0]) == {"id", "trainable_name", "config", "status", "result"}
    assert trials[0]["result"]["loss"] == trials[0]["config"]["lr"]
    assert client.get_trial(trials[1]["id"])["trial"]["id"] == trials[1]["id"]
    (new,) = client.add_trial("exp", {"config": {"lr": 0.125}})["trials"]
    assert new["config"]["lr"] == 0.125
    client.stop_trial(trials[0]["id"])
    while client.get_trial(trials[0]["id"])["trial"]["status"] != "TERMINATED":
        pass
    for wrong, said in (
        (lambda: client.get_trial("nobody"), "no trial 'nobody'"),
        (lambda: client.stop_trial("nobody"), "no trial 'nobody'"),
        (lambda: client.add_trial("exp", {"config": {"lrr": 1}}), "Did you mean 'lr'"),
        (lambda: client.add_trial("exp", {"config": {"lr": 1}, "stop": {"loss": 1}}), "stop"),
        (lambda: client.add_trial("exp", {"konfig": {}}), "konfig"),
        (lambda: TuneClient(f"localhost:{port}", token="wrong").get_all_trials(), "token"),
    ):
        with pytest.raises(TuneError, match=said):
            wrong()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/trials", timeout=10)
    with pytest.raises(UsageError, match=f"server_port={port}: Address already in use"):
        tune.run(lambda config: None, name="other", storage_path=root.parent, cluster="local", server_port=port)
    assert not (root.parent / "other").exists()
    client.stop_experiment()
    while not ended:
        pass
    assert {trial.status for trial in ended[0].trials} == {"TERMINATED"}
    assert len(ended[0].trials) == 3
    with pytest.raises(TuneError, match="No server answers"):
        client.get_all_trials()


def test_only_the_owner_reads_the_token(served: tuple[int, Path, list[Any]]) -> None:
    port, root, _ = served
    (token,) = (root.parent / "state" / "hpctune" / "servers").glob(f"*-{port}.token")
    assert token.stat().st_mode & 0o777 == 0o600
    secret = token.read_text()
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    spec = json.loads((root / "experiment.json").read_text())
    assert spec["server_port"] == port


def test_notes_and_the_functions_of_the_old_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": config["x"]})

    tune.run(
        train, config={"x": tune.grid_search([3, 1, 2])}, name="exp", storage_path=tmp_path, verbose=0, cluster="local"
    )
    root = str(tmp_path / "exp")
    assert hpctune(tmp_path, "note", root, "too", "slow").returncode == 0
    assert hpctune(tmp_path, "note", root, "--trial", "1", "the good one").returncode == 0
    shown = hpctune(tmp_path, "note", root).stdout
    assert "too slow" in shown
    assert "the good one" in shown
    assert "too slow" in hpctune(tmp_path, "list", str(tmp_path), "--columns", "name,note").stdout
    assert hpctune(tmp_path, "note", root, "text", "--edit").returncode == 2
    assert hpctune(tmp_path, "fsck", root).returncode == 0
    capsys.readouterr()
    table, pickled = tmp_path / "trials.csv", tmp_path / "trials.pkl"
    commands.list_trials(root, sort=["loss"], output=str(table), filter_op="loss < 3", info_keys=["trial_id", "loss"])
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["loss", "1", "2"]
    assert [line.split(",")[-1] for line in table.read_text().splitlines()] == ["loss", "1", "2"]
    commands.list_experiments(str(tmp_path))
    assert "exp" in capsys.readouterr().out
    assert hpctune(tmp_path, "list", root, "--output", str(pickled)).returncode == 0
    assert sorted(pickle.loads(pickled.read_bytes())["loss"]) == [1, 2, 3]
    done = hpctune(tmp_path, "list", root, "--output", "trials.xml")
    assert (done.returncode, ".csv, .json, .parquet and .pkl" in done.stderr) == (2, True)
    monkeypatch.setenv("EDITOR", "sh -c 'echo edited >> \"$0\"'")
    monkeypatch.delenv("VISUAL", raising=False)
    commands.add_note(root)
    assert (tmp_path / "exp" / "note.txt").read_text().endswith("edited\n")
