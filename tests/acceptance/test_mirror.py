"""Copies of experiments in an object store: what a script for Ray Tune asks for by ``storage_path="s3://..."``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.errors import UsageError
from hpctune.storage.reader import read_experiment

SCRIPT = """
import os, pathlib, sys, tempfile
import hpctune as tune

def train(config):
    start = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as directory:
            start = int(pathlib.Path(directory, "step").read_text())
    for step in range(start + 1, 5):
        if step == 3 and config["x"] == 1 and not pathlib.Path(config["go"]).exists():
            sys.exit("the first cluster is gone")
        with tempfile.TemporaryDirectory() as directory:
            pathlib.Path(directory, "step").write_text(str(step))
            tune.report({"loss": config["x"] / step, "from": start}, checkpoint=tune.Checkpoint(directory))

if __name__ == "__main__":
    tuner = tune.Tuner(
        train, param_space={"x": tune.grid_search([1, 2]), "go": sys.argv[1]},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="exp", storage_path="s3://bucket/dir", verbose=0),
    )
    tuner.fit()
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server on this machine, with an empty bucket; the environment points to it."""
    server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-found-anywhere")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield f"http://{host}:{port}"
    running.stop()


def hpctune(*arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HPCTUNE_RESULT_DIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = ["hpctune", *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.nightly
def test_a_second_cluster_goes_on_from_the_object_store(tmp_path: Path, s3: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for home in (one, two):
        home.mkdir()
        (home / "search.py").write_text(SCRIPT)
    go = tmp_path / "go"
    done = hpctune("run", "search.py", "--cluster", "local", "--", go, home=one)
    assert done.returncode == 1, done.stderr
    shown = hpctune("status", one / "exp", home=one).stdout
    assert "Copy: s3://bucket/dir/exp: complete" in shown
    for path in (one / "exp").rglob("*"):
        assert not path.is_file() or b"not-to-be-found-anywhere" not in path.read_bytes()
    (one / "exp").rename(one / "lost")
    listed = hpctune("list", "s3://bucket/dir/exp", "--csv", home=two)
    assert "TERMINATED" in listed.stdout, listed.stderr
    best = hpctune("best", "s3://bucket/dir/exp", home=two).stdout
    assert "loss = 0.5" in best
    assert "checkpoint: s3://bucket/dir/exp/train_" in best
    assert "is a copy: it can be looked at" in hpctune("fsck", "s3://bucket/dir/exp", home=two).stderr
    go.touch()
    done = hpctune("run", "search.py", "--resume", "REMOTE+ERRORED", "--cluster", "local", "--", go, home=two)
    assert done.returncode == 0, done.stderr
    trials = read_experiment(two / "exp").state.trials.values()
    assert {(t.config["x"], t.last["loss"], t.last["from"]) for t in trials} == {(1, 0.25, 2), (2, 0.5, 0)}
    again = hpctune("sync", "exp", home=two)
    assert "copied 0 files" in again.stdout, again.stderr
    fetched = hpctune("fetch", "s3://bucket/dir/exp", tmp_path / "here", home=two)
    assert fetched.returncode == 0, fetched.stderr
    assert read_experiment(tmp_path / "here").state.trials == read_experiment(two / "exp").state.trials
    refused = hpctune("fetch", "s3://bucket/dir/exp", two / "exp", home=two)
    assert "is ahead of its copy" in refused.stderr
    assert "is not an experiment" in hpctune("status", "s3://bucket/none", home=two).stderr


def test_from_python_with_filesystems_and_older_names(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("HPCTUNE_RESULT_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": config["x"]})

    space = {"x": tune.grid_search([3, 1])}
    given: dict[str, Any] = {"config": space, "metric": "loss", "mode": "min", "verbose": 0, "cluster": "local"}
    fs = s3fs.S3FileSystem()
    tune.run(train, name="a", storage_path="bucket/fs", storage_filesystem=fs, **given)
    assert tune.ExperimentAnalysis("bucket/fs/a", storage_filesystem=fs).best_config == {"x": 1}
    tune.run(train, name="b", sync_config=tune.SyncConfig(upload_dir="s3://bucket/old", sync_period=5), **given)
    assert tune.ExperimentAnalysis("s3://bucket/old/b").best_config == {"x": 1}
    tune.run(train, name="c", upload_dir="s3://bucket/older", **given)
    tune.run(train, name="folder/d", storage_path="s3://bucket/new", **given)
    assert tune.ExperimentAnalysis("s3://bucket/new/folder/d").best_config == {"x": 1}
    (tmp_path / "results").rename(tmp_path / "gone")
    assert tune.Tuner.can_restore("s3://bucket/older/c")
    assert not tune.Tuner.can_restore("s3://bucket/older/none")
    grid = tune.Tuner.restore("s3://bucket/older/c", train).fit()
    assert grid.get_best_result("loss", "min").config == {"x": 1}
    assert (tmp_path / "results" / "c").is_dir()


def test_a_mistyped_bucket_is_told_and_not_made(tmp_path: Path, s3: str, caplog: pytest.LogCaptureFixture) -> None:
    import s3fs

    tune.run(
        lambda config: {"a": 1},
        name="exp",
        local_dir=tmp_path,
        cluster="local",
        upload_dir="s3://buckte/dir",
        verbose=0,
    )
    assert (
        "The copy at s3://buckte/dir/exp is not complete: buckte/dir/exp/.begun: The specified bucket does not exist"
        in (caplog.text)
    )
    assert s3fs.S3FileSystem(skip_instance_cache=True).ls("") == ["bucket"]


def test_keys_of_a_filesystem_are_used_and_not_written(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    secret = "-".join(["not", "to", "be", "found"])  # so that it is not in the sources that are kept
    fs = s3fs.S3FileSystem(endpoint_url=s3, key="key", secret=secret)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HPCTUNE_RESULT_DIR", str(tmp_path / "results"))

    def train(config: dict[str, Any]) -> None:
        tune.report({"a": 1})

    tune.run(train, name="exp", storage_path="bucket/own", storage_filesystem=fs, cluster="local", verbose=0)
    root = tmp_path / "results" / "exp"
    root.rename(tmp_path / "lost")
    tune.Tuner.restore("bucket/own/exp", train, storage_filesystem=fs, resume_unfinished=False).fit()
    told = json.loads((root / "mirror_status.json").read_text())
    assert told["complete_at"] > 0, told
    assert told["error"] == ""
    for path in (*root.rglob("*"), *(tmp_path / "lost").rglob("*")):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


@pytest.mark.nightly
def test_options_of_a_url_as_pyarrow_means_them(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, region, keys: nothing of it is in the environment. Every command takes the URL."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    secret = "%2F".join(["not", "to", "be", "found"])
    where = f"?endpoint_override={s3}&region=us-east-1"
    (tmp_path / "search.py").write_text(SCRIPT)
    (tmp_path / "go").touch()
    script = ["run", "search.py", "--cluster", "local"]
    place = f"s3://key:{secret}@made/dir{where}&allow_bucket_creation=true"
    done = hpctune(*script, "--storage-path", place, "--", tmp_path / "go", home=tmp_path)
    assert done.returncode == 0, done.stderr
    copy = f"s3://key:{secret}@made/dir/exp{where}"
    shown = f"Copy: s3://made/dir/exp{where}&allow_bucket_creation=true: complete"
    assert shown in hpctune("status", "exp", home=tmp_path).stdout
    (tmp_path / "exp").rename(tmp_path / "lost")
    for command in ("status", "list", "best", "cost", "timeline", "html"):
        done = hpctune(command, copy, home=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "2 checkpoints" in hpctune("export", copy, "of-the-copy.tar", "--best", 2, home=tmp_path).stdout
    assert hpctune("fetch", copy, tmp_path / "fetched", home=tmp_path).returncode == 0
    archive = f"s3://key:{secret}@made/exp.tar.gz{where}"
    done = hpctune("export", tmp_path / "fetched", archive, home=tmp_path)
    assert f"s3://made/exp.tar.gz{where}: the best" in done.stdout, done.stderr
    done = hpctune("resume", copy, home=tmp_path)
    assert "Nothing left to do" in done.stdout, done.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    wrong = hpctune("status", f"s3://made/dir/exp{where}&endpoint=x", home=tmp_path)
    assert "unknown option 'endpoint'" in wrong.stderr


@pytest.mark.parametrize("kind", ["template", "function", "syncer"])
def test_a_place_that_only_own_means_can_read_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("HPCTUNE_RESULT_DIR", str(tmp_path / "results"))

    def path(place: str) -> str:
        return place.replace("mine://", f"{tmp_path}/mine/")

    def copy(source: str, target: str) -> None:
        shutil.copytree(path(source), path(target), dirs_exist_ok=True)

    class Own(tune.syncer.Syncer):
        def sync_up(self, local_dir: str, remote_dir: str, exclude: Any = None) -> bool:
            copy(local_dir, remote_dir)
            return True

        def sync_down(self, remote_dir: str, local_dir: str, exclude: Any = None) -> bool:
            copy(remote_dir, local_dir)
            return True

        def delete(self, remote_dir: str) -> bool:
            return True

    def train(config: dict[str, Any]) -> None:
        if not go.exists():
            raise RuntimeError("later")
        tune.report({"a": config["x"]})

    go = tmp_path / "go"
    place = (
        f"cd {tmp_path}; s={{source}}; t={{target}}; t=${{{{t#mine://}}}}; mkdir -p $t; cp -r ${{{{s#mine://}}}}/. $t"
    )
    means: Any = {"template": place, "function": copy, "syncer": Own()}[kind]
    given: dict[str, Any] = {
        "config": {"x": tune.grid_search([1, 2])}, "name": "exp", "cluster": "local", "verbose": 0,
        "sync_config": tune.SyncConfig(upload_dir="mine://dir", syncer=means), "raise_on_failed_trial": False,
    }  # fmt: skip
    tune.run(train, **given)
    (tmp_path / "results" / "exp").rename(tmp_path / "lost")
    go.touch()
    analysis = tune.run(train, resume="REMOTE+ERRORED", **given)
    assert [trial.last_result["a"] for trial in analysis.trials] == [1, 2]
    assert not list((tmp_path / "results").glob(".from_mirror*"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"upload_dir": "s3://"}, "names no bucket"),
        ({"upload_dir": "s3://b", "syncer": "rsync {source}"}, "lacks"),
        ({"syncer": "rsync {source}"}, "lacks"),
        ({"upload_dir": "s3://b", "syncer": 5}, "syncer must be"),
        ({"upload_dir": "nosuch://b"}, "nosuch"),
        ({"upload_dir": "https://host/dir"}, "nothing can be written to a web server"),
        ({"upload_dir": "s3://b", "sync_period": 0}, "sync_period"),
        ({"sync_to_cloud": "cp {source} {target}"}, "needs upload_dir"),
    ],
)
def test_what_cannot_be_is_told_before_the_experiment_exists(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tune.run(
            lambda config: {"a": 1}, name="exp", local_dir=tmp_path, cluster="local",
            sync_config=tune.SyncConfig(**given),
        )  # fmt: skip
    assert not (tmp_path / "exp").exists()


def test_a_place_that_always_fails_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fails(source: str, target: str) -> None:
        raise OSError("no route to host")

    config = tune.SyncConfig(upload_dir="backup", syncer=fails)
    analysis = tune.run(
        lambda config: {"a": 1}, name="exp", local_dir=tmp_path, cluster="local", sync_config=config, verbose=0
    )
    assert analysis.trials[0].status == "TERMINATED"
    assert "no route to host" in caplog.text
    assert "Nothing is lost here" in caplog.text
    done = subprocess.run(
        ["hpctune", "status", tmp_path / "exp"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "nothing is there yet; failing for" in done.stdout


def test_what_was_fetched_without_its_checkpoints_goes_on_with_them(tmp_path: Path) -> None:
    home, there = tmp_path / "home", f"file://{tmp_path}/elsewhere"
    home.mkdir()
    (home / "search.py").write_text(
        SCRIPT.replace("s3://bucket/dir", f"{home}").replace(
            "verbose=0",
            f"""verbose=0,
        sync_config=tune.SyncConfig(upload_dir="{there}")""",
        )
    )
    go = tmp_path / "go"
    assert hpctune("run", "search.py", "--cluster", "local", "--", go, home=home).returncode == 1
    (home / "exp").rename(home / "lost")
    go.touch()
    fetched = hpctune("fetch", f"{there}/exp", "--checkpoints", "none", home=home)
    assert fetched.returncode == 0, fetched.stderr
    assert not list((home / "exp").glob("*/checkpoint_*"))
    done = hpctune("resume", "exp", "--errored", home=home)
    assert done.returncode == 0, done.stderr
    assert "Bringing the other checkpoints" in done.stderr
    trials = read_experiment(home / "exp").state.trials.values()
    assert {(t.config["x"], t.last["loss"], t.last["from"]) for t in trials} == {(1, 0.25, 2), (2, 0.5, 0)}
    assert "copied 0 files" in hpctune("sync", "exp", home=home).stdout
