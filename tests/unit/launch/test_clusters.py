"""Which cluster is meant, what is remembered of it, and checks that leave no trace."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import hpctune as tune
from hpctune.cluster.choice import ClusterChoice, reopen_cluster, resolve_cluster
from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.cluster.pending_limit import limit_pending
from hpctune.errors import RequestRejectedError, TrainableError, UsageError
from hpctune.launch.overrides import Overrides, use
from hpctune.model.resources import Resources
from hpctune.ports import CallStats, Cluster
from hpctune.registry import as_trainable, register_env, register_trainable, requested_resources, trainable_name


class OwnCluster:
    """Does nothing; ``pending`` grows with each job."""

    name = "own"
    poll_s = 1.0
    quiet_poll_s = 1.0

    def check(self, resources: Resources) -> None: ...

    def room(self, resources: Resources) -> int:
        return 10

    def submit(self, requests: Any) -> list[Any]:
        return []

    def jobs(self) -> list[Any]:
        return []

    def cancel(self, job_ids: Any) -> None: ...

    def preview(self, request: Any) -> str:
        return ""

    def stats(self) -> CallStats:
        return CallStats()

    def tidy(self, job_ids: Any) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpctune.cluster.choice.slurm_is_here", lambda environ: False)


def test_auto_is_made_definite(no_slurm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_cluster(None).name == "local"
    assert resolve_cluster("auto").name == "local"
    monkeypatch.setattr("hpctune.cluster.choice.slurm_is_here", lambda environ: True)
    assert resolve_cluster(None).name == "slurm"


def test_options_name_their_cluster(no_slurm: None) -> None:
    options = SlurmOptions(partition="gpu")
    assert resolve_cluster(options) == ClusterChoice("slurm", options)
    assert resolve_cluster(None, options) == ClusterChoice("slurm", options)
    assert resolve_cluster(None, {"partition": "gpu"}) == ClusterChoice("slurm", options)
    assert resolve_cluster(LocalOptions(cpus=2)) == ClusterChoice("local", LocalOptions(cpus=2))


def test_the_command_line_wins(no_slurm: None, capsys: pytest.CaptureFixture[str]) -> None:
    options = SlurmOptions(partition="cpu", qos="low")
    said = Overrides(slurm={"partition": "gpu"}, calls_per_minute=30)
    chosen = resolve_cluster(options, slurm_changes=said.slurm_options)
    assert chosen.options == SlurmOptions(partition="gpu", qos="low", calls_per_minute=30)
    assert resolve_cluster(options, name="local").name == "local"
    assert "the options for Slurm jobs are ignored" in capsys.readouterr().err


def test_a_cluster_of_ones_own() -> None:
    own = OwnCluster()
    assert resolve_cluster(own) == ClusterChoice("own", None, cast(Cluster, own))
    assert resolve_cluster(own).build(Path("/x"), "e", cast(Any, None)) is own
    with pytest.raises(UsageError, match="a cluster object of its own"):
        reopen_cluster("own", {})


@pytest.mark.parametrize("bad", ["cloud", 3, OwnCluster, object()])
def test_what_is_no_cluster(bad: Any) -> None:
    with pytest.raises(UsageError, match="cluster"):
        resolve_cluster(bad)


@pytest.mark.parametrize(
    "options",
    [
        SlurmOptions(time=timedelta(days=1, hours=2), modules=["cuda"], env={"A": "1"}, additional_parameters={"x": 1}),
        SlurmOptions(),
    ],
)
def test_slurm_options_come_back_from_the_stored_definition(options: SlurmOptions) -> None:
    import json

    chosen = ClusterChoice("slurm", options)
    again = reopen_cluster("slurm", json.loads(json.dumps(chosen.to_json())))
    assert again.options is not None
    assert again.to_json() == chosen.to_json()
    assert getattr(again.options, "time_minutes", None) == options.time_minutes


def test_what_was_stored_may_be_changed_on_resume() -> None:
    assert reopen_cluster("slurm", {"qos": "a"}, slurm_changes={"qos": "b"}).options == SlurmOptions(qos="b")
    assert reopen_cluster("slurm", {"qos": "a"}, name="local") == ClusterChoice("local")
    assert reopen_cluster("local", {"cpus": 3}, name="auto") == ClusterChoice("local", LocalOptions(cpus=3))
    assert reopen_cluster("debug", {}) == ClusterChoice("debug")


def test_few_may_wait() -> None:
    waiting = 2
    limited = limit_pending(cast(Cluster, OwnCluster()), 3, lambda: waiting)
    assert limited.room(Resources()) == 1
    waiting = 9
    assert limited.room(Resources()) <= 0
    assert (limited.name, limited.poll_s) == ("own", 1.0)
    assert limit_pending(cast(Cluster, OwnCluster()), None, lambda: 0).room(Resources()) == 10


# -- checks that leave no trace ---------------------------------------------------------------------------------------


def train(config: dict[str, Any]) -> None:
    """Never called."""


@pytest.fixture
def refusing_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's commands, whose sbatch refuses every partition."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("sbatch", "sinfo", "squeue", "scancel", "scontrol"):
        script = commands / name
        refuses = 'echo "sbatch: error: invalid partition specified: gpu" >&2; exit 1\n'
        script.write_text("#!/bin/sh\n" + (refuses if name == "sbatch" else "exit 0\n"))
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")


def test_a_refused_request_leaves_nothing(refusing_slurm: None, tmp_path: Path) -> None:
    with pytest.raises(RequestRejectedError, match="partition"):
        tune.run(train, storage_path=tmp_path / "s", slurm={"partition": "gpu"})
    assert not (tmp_path / "s").exists()


def test_a_dry_run_for_slurm_shows_the_script_and_leaves_nothing(
    refusing_slurm: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text("#!/bin/sh\nexit 0\n")
    with use(Overrides(dry_run=True)), pytest.raises(SystemExit):
        tune.run(train, storage_path=tmp_path / "s", slurm={"partition": "gpu", "time": 90})
    text = capsys.readouterr().out
    assert "#SBATCH --partition=gpu" in text
    assert "#SBATCH --time=90" in text
    assert not (tmp_path / "s").exists()


# -- trainables by name -----------------------------------------------------------------------------------------------


class Klass(tune.Trainable):
    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        return {"cpu": config["n"]} if "n" in config else None


def test_registered_names(capsys: pytest.CaptureFixture[str]) -> None:
    register_trainable("mine", train)
    assert as_trainable("mine") is train
    register_trainable("mine", train)
    assert capsys.readouterr().err == ""
    register_trainable("mine", Klass)
    assert "'mine' was registered before" in capsys.readouterr().err
    with pytest.raises(TrainableError, match=r"mine.*register_trainable\('yours'"):
        as_trainable("yours")
    with pytest.raises(UsageError):
        register_trainable("", train)
    with pytest.raises(TrainableError):
        register_trainable("bad", lambda: None)
    with pytest.raises(TrainableError, match="makes the environment"):
        register_env("env", None)  # type: ignore[arg-type]


def test_names_of_trainables() -> None:
    from functools import partial

    assert trainable_name(train) == "train"
    assert trainable_name(lambda config: None) == "lambda"
    assert trainable_name(partial(partial(train))) == "train"
    assert trainable_name(Klass) == "Klass"
    assert trainable_name(tune.Command("./simulate --x {x}")) == "simulate"
    assert trainable_name(tune.with_parameters(lambda config, data: None, data=1)) == "lambda"
    with pytest.raises(TrainableError):
        trainable_name(3)


def test_a_class_may_ask_for_its_resources() -> None:
    request = requested_resources(Klass, None)
    assert request({"n": 3}) == {"cpu": 3}
    assert request({}) is None
    assert requested_resources(Klass, {"cpu": 2})({}) == {"cpu": 2}
    with pytest.raises(UsageError, match="default_resource_request"):
        requested_resources(Klass, {"cpu": 2})({"n": 3})
    assert requested_resources(train, {"cpu": 2}) == {"cpu": 2}
