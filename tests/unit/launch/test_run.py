"""``run``, ``run_experiments`` and ``Tuner``: what each argument becomes, and what each wrong one says."""

from __future__ import annotations

import inspect
import json
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.core.resume import ResumeChoice
from hpctune.errors import NotYetSupportedError, TuneError, UsageError
from hpctune.launch import run as launch_run
from hpctune.launch.overrides import Overrides, use
from hpctune.launch.prepared import PreparedExperiment
from hpctune.logger import CSVLogger, CSVLoggerCallback, LegacyLoggerCallback, Logger
from hpctune.model.budget import Budget
from hpctune.model.resources import Resources
from hpctune.schedulers import FIFOScheduler
from hpctune.search import BasicVariantGenerator
from hpctune.stopper import MaximumIterationStopper
from hpctune.storage import bundle, spec_file


class Captured(BaseException):
    """Instead of driving."""

    def __init__(self, starts: Sequence[PreparedExperiment]) -> None:
        self.starts = list(starts)


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Launches are captured where driving would begin; results go to a temporary directory."""

    def capture(starts: Sequence[PreparedExperiment], *, cancel_on_exit: bool = False) -> None:
        raise Captured(starts)

    monkeypatch.setattr(launch_run, "drive", capture)
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "results"))


def captured(call: Callable[[], object]) -> PreparedExperiment:
    """The one launch that ``call`` comes to."""
    with pytest.raises(Captured) as caught:
        call()
    assert len(caught.value.starts) == 1
    return caught.value.starts[0]


def launched(trainable: Any = None, **arguments: Any) -> PreparedExperiment:
    """The launch of ``run`` with these arguments, on this machine unless they say otherwise."""
    if not {"cluster", "slurm", "local_mode"} & set(arguments):
        arguments["cluster"] = "local"
    return captured(lambda: tune.run(trainable or train, **arguments))


def train(config: dict[str, Any]) -> None:
    """Never called here."""


class Noting(Logger):
    """Never made here."""


def loggers_of(start: PreparedExperiment) -> list[type[Logger]]:
    return [kind for c in start.setup.callbacks if isinstance(c, LegacyLoggerCallback) for kind in c.logger_classes]


class Klass(tune.Trainable):
    """Never made here."""

    def step(self) -> dict[str, Any]:
        return {}


def named(trial: tune.Trial) -> str:
    return f"t{trial.trial_id}"


@dataclass
class Case:
    """Arguments of ``run``, and what must be true of the launch, or the error that must come."""

    arguments: dict[str, Any]
    check: Callable[[PreparedExperiment], Any] | None = None
    error: type[Exception] | None = None
    says: str = ""
    trainable: Any = None


def spec_has(**fields: Any) -> Callable[[PreparedExperiment], bool]:
    def check(start: PreparedExperiment) -> bool:
        found = {name: getattr(start.spec, name) for name in fields}
        assert found == fields
        return True

    return check


def refused(argument: str, value: Any, says: str = "", error: type[Exception] = NotYetSupportedError) -> Case:
    return Case({argument: value}, error=error, says=says or argument)


CASES: dict[str, list[Case]] = {
    "run_or_experiment": [
        Case({}, lambda s: s.trainable is train and s.spec.trainable == "train"),
        Case({}, lambda s: s.trainable is Klass, trainable=Klass),
        Case({}, error=TuneError, says="nowhere", trainable="nowhere"),
        Case({}, error=TuneError, trainable=17),
    ],
    "name": [
        Case({"name": "mine"}, lambda s: s.paths.root.name == "mine" and s.named),
        Case({}, lambda s: re.fullmatch(r"train_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", s.paths.root.name)),
        Case({"name": "a/b"}, lambda s: s.paths.root.parts[-2:] == ("a", "b")),
        Case({"name": "a//b"}, error=UsageError, says="must be a directory name"),
        Case({"name": "../b"}, error=UsageError, says="must be a directory name"),
    ],
    "metric": [
        Case({"metric": "loss", "mode": "min"}, spec_has(metric="loss", mode="min")),
        Case({"metric": "loss", "mode": "min"}, lambda s: s.setup.bind_search.metric == "loss"),
        Case({"metric": "loss"}, spec_has(metric="loss", mode=None)),
        Case({"metric": ["a", "b"], "mode": "min"}, spec_has(metric="a", more_objectives=(("b", "min"),))),
        Case({"metric": ["a", 3], "mode": "min"}, error=UsageError, says="metric"),
    ],
    "mode": [Case({"mode": "maximum"}, error=ValueError, says="'min' or 'max'")],
    "stop": [
        Case({"stop": {"a": 3, "b/c": 1.5}}, spec_has(criteria={"a": 3, "b/c": 1.5})),
        Case({"stop": MaximumIterationStopper(3)}, lambda s: type(s.setup.stopper) is MaximumIterationStopper),
        Case({"stop": lambda trial_id, result: True}, lambda s: s.setup.stopper("t", {}) is True),
        Case({"stop": "never"}, error=ValueError, says="stop="),
    ],
    "time_budget_s": [
        Case({"time_budget_s": 60}, spec_has(time_budget_s=60.0)),
        Case({"time_budget_s": "1h"}, error=ValueError, says="time_budget_s"),
    ],
    "budget": [
        Case({"budget": "200 gpuh"}, spec_has(budget=Budget(200.0, "gpuh"))),
        Case({"budget": "0.5CPUh"}, spec_has(budget=Budget(0.5, "cpuh"))),
        Case({"budget": 200}, error=ValueError, says="gpuh (GPU hours)"),
        Case({"budget": "0gpuh"}, error=ValueError, says="budget='0gpuh'"),
        Case({"budget": "3hours"}, error=ValueError, says="Units are"),
        Case({"budget": "3billing"}, error=ValueError, says="needs Slurm"),
    ],
    "config": [
        Case({"config": {"lr": 0.1}}, lambda s: s.setup.bind_search.space == {"lr": 0.1}),
        Case({"config": 3}, error=UsageError, says="config"),
        Case({"config": {"a": tune.sample_from(lambda spec: spec.config.b)}}, error=tune.TuneError, says="b"),
    ],
    "resources_per_trial": [
        Case({"resources_per_trial": {"cpu": 1}}, lambda s: s.setup.resources_for({}).cpus == 1),
        Case({"resources_per_trial": 3}, error=UsageError, says="resources_per_trial"),
        Case({"resources_per_trial": {"cpu": 10**6}}, error=TuneError),
    ],
    "num_samples": [
        Case({"num_samples": 7}, spec_has(num_samples=7)),
        Case({"num_samples": -1}, spec_has(num_samples=-1)),
        Case({"num_samples": 0}, error=UsageError, says="num_samples"),
        Case({"num_samples": "3"}, error=UsageError, says="num_samples"),
    ],
    "search_alg": [
        Case({"search_alg": "random"}, lambda s: isinstance(s.setup.bind_search.algorithm, BasicVariantGenerator)),
        Case({"search_alg": "optuna"}, error=UsageError, says="OptunaSearch has no search space"),
        Case({"search_alg": "guess"}, error=UsageError, says="guess"),
        Case({"search_alg": 3}, error=UsageError, says="search_alg"),
    ],
    "scheduler": [
        Case({"scheduler": "fifo"}, lambda s: isinstance(s.setup.scheduler, FIFOScheduler)),
        Case({"scheduler": "pbt"}, error=UsageError, says="hyperparam_mutations"),
        Case({"scheduler": FIFOScheduler}, error=UsageError, says="scheduler"),
    ],
    "keep_checkpoints_num": [
        Case({"keep_checkpoints_num": 2}, lambda s: s.spec.checkpoint.keep == 2),
        Case({"keep_checkpoints_num": 0}, error=ValueError, says="keep_checkpoints_num"),
    ],
    "checkpoint_score_attr": [
        Case({"checkpoint_score_attr": "min-loss"}, lambda s: s.spec.checkpoint.score_order == "min"),
    ],
    "checkpoint_freq": [
        Case({"checkpoint_freq": 3}, lambda s: s.spec.checkpoint.frequency == 3, trainable=Klass),
        Case({"checkpoint_freq": 3}, error=ValueError, says="class trainables"),
    ],
    "checkpoint_at_end": [
        Case({"checkpoint_at_end": True}, lambda s: s.spec.checkpoint.at_end, trainable=Klass),
        Case({"checkpoint_at_end": True}, error=ValueError, says="class trainables"),
    ],
    "checkpoint_config": [
        Case({"checkpoint_config": tune.CheckpointConfig(2)}, lambda s: s.spec.checkpoint.keep == 2),
        Case({"checkpoint_config": {"num_to_keep": 2}}, lambda s: s.spec.checkpoint.keep == 2),
        Case(
            {"checkpoint_config": {}, "checkpoint_freq": 2}, error=UsageError, says="checkpoint_freq", trainable=Klass
        ),
    ],
    "verbose": [
        Case({"verbose": 0}, lambda s: s.verbose == 0),
        Case({}, lambda s: s.verbose == 2),
        Case({"verbose": 4}, error=UsageError, says="verbose"),
    ],
    "progress_reporter": [
        Case({"progress_reporter": (reporter := tune.CLIReporter())}, lambda s: s.reporter is reporter),
        Case({"progress_reporter": tune.CLIReporter}, error=UsageError, says="progress_reporter"),
    ],
    "log_to_file": [
        Case({"log_to_file": ("o", "e")}, spec_has(stdout="o", stderr="e")),
        Case({"log_to_file": True}, spec_has(stdout="stdout", stderr="stderr")),
        Case({"log_to_file": ("o",)}, error=ValueError, says="log_to_file"),
    ],
    "trial_name_creator": [
        Case({"trial_name_creator": named}, lambda s: s.setup.trial_name_creator is named),
        Case({"trial_name_creator": "t"}, error=UsageError, says="trial_name_creator"),
    ],
    "trial_dirname_creator": [
        Case({"trial_dirname_creator": named}, lambda s: s.setup.trial_dirname_creator is named),
        Case({"trial_dirname_creator": "t"}, error=UsageError, says="trial_dirname_creator"),
    ],
    "sync_config": [
        Case({"sync_config": tune.SyncConfig()}, spec_has(num_samples=1)),
        Case({"sync_config": tune.SyncConfig(upload_dir="s3://b")}, lambda s: s.setup.mirror.place == "s3://b"),
        Case({"sync_config": "s3://b"}, error=UsageError, says="SyncConfig"),
    ],
    "export_formats": [
        Case({"export_formats": ["model"]}, spec_has(export_formats=("model",)), trainable=Klass),
        Case({"export_formats": ["word"]}, error=TuneError, says="word", trainable=Klass),
        Case({"export_formats": ["model"]}, error=UsageError, says="class trainables"),
    ],
    "max_failures": [
        Case({"max_failures": -1}, spec_has(max_failures=-1)),
        Case({"max_failures": -2}, error=ValueError, says="max_failures"),
    ],
    "fail_fast": [
        Case({"fail_fast": True}, spec_has(fail_fast="stop")),
        Case({"fail_fast": "raise"}, spec_has(fail_fast="raise")),
        Case({"fail_fast": "RAISE"}, spec_has(fail_fast="raise")),
        Case({"fail_fast": True, "max_failures": 1}, error=ValueError, says="exclude"),
        Case({"fail_fast": "slowly"}, error=ValueError, says="fail_fast"),
    ],
    "restore": [
        Case({"restore": "/"}, spec_has(restore="/")),
        Case({"restore": "/no/such/checkpoint"}, error=UsageError, says="restore"),
    ],
    "resume": [
        Case({"name": "new", "resume": "AUTO"}, lambda s: s.resume is None),
        Case({"name": "new", "resume": True}, error=ValueError, says="nothing to resume"),
        Case({"resume": True}, error=ValueError, says="name="),
        Case({"name": "new", "resume": "REMOTE"}, error=ValueError, says="REMOTE"),
        Case({"name": "new", "resume": "PERHAPS"}, error=UsageError, says="PERHAPS"),
    ],
    "resume_config": [Case({"resume_config": tune.ResumeConfig()}, error=UsageError, says="resume=True")],
    "callbacks": [
        Case(
            {"callbacks": [own := CSVLoggerCallback()]},
            lambda s: own in s.setup.callbacks and len(s.setup.callbacks) >= 2,
        ),
        Case({"callbacks": [CSVLoggerCallback]}, error=UsageError, says="callbacks"),
    ],
    "max_concurrent_trials": [
        Case({"max_concurrent_trials": 4}, spec_has(max_concurrent=4)),
        Case({"max_concurrent_trials": -1}, error=ValueError, says="max_concurrent_trials"),
    ],
    "raise_on_failed_trial": [Case({"raise_on_failed_trial": False}, spec_has(num_samples=1))],
    "reuse_actors": [
        Case({"reuse_actors": None}, spec_has(cluster_options={})),
        Case({"reuse_actors": True}, spec_has(cluster_options={"workers": "auto"})),
        Case({"reuse_actors": "yes"}, error=UsageError, says="reuse_actors"),
    ],
    "workers": [
        Case({"workers": 3}, spec_has(cluster_options={"workers": 3})),
        Case({"workers": "auto"}, spec_has(cluster_options={"workers": "auto"})),
        Case({"workers": 0}, error=UsageError, says="workers"),
    ],
    "failure_config": [
        Case({"failure_config": tune.FailureConfig(max_failures=2)}, spec_has(max_failures=2)),
        Case({"failure_config": tune.FailureConfig(canary=True)}, lambda s: s.spec.failure_policy.canary),
        Case({"failure_config": tune.FailureConfig(decision_timeout_s=5)}, spec_has(decision_timeout_s=5)),
        Case({"failure_config": tune.FailureConfig(), "max_failures": 1}, error=UsageError, says="failure_config"),
    ],
    "share_with_group": [
        Case({"share_with_group": True}, spec_has(share_with_group=True)),
        Case({}, spec_has(share_with_group=False)),
        Case({"share_with_group": "yes"}, error=UsageError, says="share_with_group"),
    ],
    "server_port": [
        Case({"server_port": 4322}, spec_has(server_port=4322)),
        Case({}, spec_has(server_port=None)),
        Case({"server_port": "4321"}, error=UsageError, says="server_port"),
        Case({"server_port": 70000}, error=UsageError, says="server_port"),
    ],
    "with_server": [
        Case({"with_server": True}, spec_has(server_port=4321)),
        Case({"with_server": True, "server_port": 5}, spec_has(server_port=5)),
        Case({"with_server": False, "server_port": 5}, spec_has(server_port=None)),
        Case({"with_server": 1}, error=UsageError, says="with_server"),
    ],
    "trial_executor": [refused("trial_executor", object(), "cluster", UsageError)],
    "queue_trials": [Case({"queue_trials": value}, spec_has(num_samples=1)) for value in (True, False)],
    "loggers": [
        Case({"loggers": [Noting, CSVLogger]}, lambda s: loggers_of(s) == [Noting]),
        Case({"loggers": "csv"}, error=UsageError, says="callbacks"),
        Case({"loggers": [3]}, error=UsageError, says="hpctune.logger.Logger"),
    ],
    "upload_dir": [
        Case({"upload_dir": "s3://b"}, lambda s: s.setup.mirror.place == "s3://b"),
        Case({"upload_dir": "s3://b", "sync_config": tune.SyncConfig()}, error=UsageError, says="upload_dir"),
    ],
    "storage_filesystem": [Case({"storage_filesystem": object()}, error=UsageError, says="fsspec or pyarrow")],
    "checkpoint_keep_all_ranks": [
        Case({"checkpoint_keep_all_ranks": False}, spec_has(num_samples=1)),
        refused("checkpoint_keep_all_ranks", True),
    ],
    "checkpoint_upload_from_workers": [refused("checkpoint_upload_from_workers", True)],
    "chdir_to_trial_dir": [
        Case({"chdir_to_trial_dir": True}, lambda s: s.setup.env == {}),
        Case({"chdir_to_trial_dir": False}, lambda s: s.setup.env == {"HPCTUNE_CHDIR_TO_TRIAL_DIR": "0"}),
        Case({"chdir_to_trial_dir": "/tmp"}, error=UsageError, says="chdir_to_trial_dir"),
    ],
    "local_mode": [
        Case({"local_mode": True}, spec_has(cluster="debug")),
        Case({"local_mode": True, "cluster": "local"}, error=UsageError, says="local_mode"),
    ],
    "cluster": [
        Case({"cluster": "debug"}, spec_has(cluster="debug", cluster_options={})),
        Case({"cluster": tune.LocalOptions(cpus=1)}, spec_has(cluster="local", cluster_options={"cpus": 1})),
        Case({"cluster": "cloud"}, error=UsageError, says="cloud"),
        Case({"cluster": tune.LocalOptions}, error=UsageError, says="cluster"),
    ],
    "slurm": [
        Case({"cluster": "local", "slurm": {"partition": "gpu"}}, spec_has(cluster="local", cluster_options={})),
        Case({"slurm": {"partitoin": "gpu"}}, error=UsageError, says="partition"),
        Case({"slurm": 3}, error=UsageError, says="slurm"),
        Case({"slurm": {}, "cluster": tune.SlurmOptions()}, error=UsageError, says="same option"),
    ],
}


def parameters() -> list[Any]:
    return [
        pytest.param(case, id=f"{name}-{number}") for name, cases in CASES.items() for number, case in enumerate(cases)
    ]


@pytest.mark.parametrize("case", parameters())
def test_every_argument_has_an_effect_or_an_error(case: Case) -> None:
    if case.error is None:
        assert case.check is not None
        assert case.check(launched(case.trainable, **case.arguments))
        return
    arguments = {"cluster": "local"} if not {"cluster", "slurm", "local_mode"} & set(case.arguments) else {}
    with pytest.raises(case.error, match=re.escape(case.says) or None):
        tune.run(case.trainable or train, **arguments, **case.arguments)


def test_no_parameter_of_run_is_left_out() -> None:
    separately = {"storage_path", "local_dir", "older"}
    assert set(inspect.signature(tune.run).parameters) == set(CASES) | separately


def test_arguments_of_earlier_versions(caplog: pytest.LogCaptureFixture) -> None:
    start = launched(upload_dir="s3://b", sync_to_cloud="cp {source} {target}", sync_on_checkpoint=False)
    assert start.setup.mirror is not None
    assert (start.setup.mirror.place, start.setup.mirror.means) == ("s3://b", "cp {source} {target}")
    launched(queue_trials=False, global_checkpoint_period=30, ray_auto_init=False, sync_to_driver=False)
    told = [line for line in caplog.text.splitlines() if "has no effect" in line]
    assert ["queue_trials=False" in line or "global_checkpoint_period=30" in line for line in told] == [True, True]
    with pytest.raises(TypeError, match=r"run\(\) got an unexpected keyword argument 'num_sample'.*num_samples"):
        tune.run(train, num_sample=3)
    with pytest.raises(TypeError, match=r"Experiment\(\) got an unexpected keyword argument 'verbose'"):
        tune.Experiment("name", train, verbose=1)
    with pytest.raises(UsageError, match="With sync_config, set sync_to_cloud in it"):
        tune.Experiment("name", train, sync_config=tune.SyncConfig(), sync_to_cloud="cp {source} {target}")
    experiment = {"run": train, "upload_dir": "s3://b", "loggers": [Noting], "sync_to_driver": True}
    start = captured(lambda: tune.run_experiments({"name": experiment}, cluster="local", search_alg="random"))
    assert loggers_of(start) == [Noting]
    assert start.setup.mirror is not None
    assert start.setup.mirror.place == "s3://b"


# -- what is made ----------------------------------------------------------------------------------------------------


def test_the_experiment_is_there_before_anything_runs(tmp_path: Path) -> None:
    start = launched(name="mine", storage_path=tmp_path / "s", config={"lr": tune.uniform(0, 1)}, num_samples=2)
    assert start.paths.root == tmp_path / "s" / "mine"
    assert stat.S_IMODE(start.paths.root.stat().st_mode) == 0o700
    assert spec_file.read(start.paths) == start.spec
    setup = bundle.load_driver_objects(start.paths)
    policies = setup.policies(start.spec, 2)
    assert policies.search.total == 2
    assert json.loads(start.paths.spec.read_text())["trainable"] == "train"


def test_local_dir_is_the_older_name(tmp_path: Path) -> None:
    assert launched(local_dir=str(tmp_path / "old"), name="x").paths.root == tmp_path / "old" / "x"


def test_the_name_of_an_unfinished_experiment_gets_a_number_and_says_how_to_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = launched(name="mine")
    assert [launched(name="mine").paths.root.name for _ in range(2)] == ["mine_2", "mine_3"]
    assert "is not finished, so this new one is" in caplog.text
    assert f"resume='AUTO' (--resume AUTO), or hpctune resume {start.paths.root}" in caplog.text
    assert start.paths.spec.is_file()


def test_a_taken_automatic_name_gets_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_DATED_SUBDIR", "1")
    names = [launched().paths.root.name for _ in range(3)]
    assert names == ["train", "train_2", "train_3"]


def test_nothing_is_left_of_a_launch_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*arguments: Any) -> None:
        raise tune.TuneError("no space")

    monkeypatch.setattr(spec_file, "write", no_space)
    with pytest.raises(TuneError, match="no space"):
        tune.run(train, name="mine", cluster="local", storage_path=tmp_path / "s")
    assert list((tmp_path / "s").iterdir()) == []


def test_a_failed_launch_keeps_what_was_there_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    monkeypatch.setattr(spec_file, "write", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tune.run(train, name="mine", cluster="local", storage_path=tmp_path)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TuneError, match=r"Cannot create .*storage_path="):
        tune.run(train, cluster="local", storage_path=tmp_path / "file" / "x")


def test_resources_that_no_machine_has_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(TuneError):
        tune.run(train, cluster="local", storage_path=tmp_path / "s", resources_per_trial={"cpu": 10**6})
    assert not (tmp_path / "s").exists()


def test_resume_adopts_the_stored_identity_and_the_new_limits() -> None:
    first = launched(name="mine", num_samples=2, metric="loss", mode="min", max_failures=1).spec
    again = launched(
        name="mine", num_samples=5, metric="loss", mode="min", max_failures=3, time_budget_s=9, resume="AUTO+ERRORED"
    )
    spec = again.spec
    assert (spec.experiment_id, spec.seed, spec.created_at) == (first.experiment_id, first.seed, first.created_at)
    assert (spec.max_failures, spec.time_budget_s) == (3, 9.0)
    assert again.resume == ResumeChoice("skip", "resume", "resume")
    assert (again.num_samples, again.replaces_stored) == (5, True)


def test_resume_with_another_metric_is_refused() -> None:
    launched(name="mine", metric="loss", mode="min")
    with pytest.raises(ValueError, match="metric='loss'"):
        tune.run(train, name="mine", metric="accuracy", mode="min", resume=True, cluster="local")


def test_prompting_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    start = launched(name="mine")
    with pytest.raises(UsageError, match="terminal"):
        tune.run(train, name="mine", resume="PROMPT", cluster="local")
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda question: "y" if str(start.paths.root) in question else "n")
    assert launched(name="mine", resume="PROMPT").replaces_stored


class Terminal:
    def isatty(self) -> bool:
        return True


def test_an_experiment_has_its_own_definition() -> None:
    experiment = tune.Experiment("mine", train, config={"lr": 1}, num_samples=3)
    assert captured(lambda: tune.run(experiment, cluster="local")).spec.num_samples == 3
    with pytest.raises(UsageError, match="num_samples"):
        tune.run(experiment, num_samples=4)
    with pytest.raises(UsageError, match="name"):
        tune.run([experiment], name="other")
    with pytest.raises(UsageError, match="empty"):
        tune.run([])


def test_lax_metric_checking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    start = launched(metric="loss", mode="min")
    assert start.spec.metric is None
    assert start.setup.bind_search.metric == "loss"


def test_numpy_seed_makes_configurations_repeatable() -> None:
    import numpy as np

    np.random.seed(3)
    one = launched().spec.seed
    np.random.seed(3)
    assert launched().spec.seed == one
    assert launched().spec.seed != one


# -- the command line over it ----------------------------------------------------------------------------------------


def test_overrides_win(tmp_path: Path) -> None:
    wanted = Overrides(
        name="cli",
        storage_path=str(tmp_path / "cli"),
        num_samples=9,
        max_concurrent=2,
        time_budget_s=5.0,
        max_checkpoints=7,
        cluster="debug",
        slurm={"partition": "gpu"},
        config={"model.lr": 0.5},
        verbose=0,
    )
    kept = tune.CheckpointConfig(num_to_keep=2, max_total_checkpoints=9, max_total_bytes="1 GB")
    space = {"model": {"lr": tune.uniform(0, 1)}}
    with use(wanted):
        start = launched(name="script", num_samples=1, config=space, verbose=3, checkpoint_config=kept)
    spec = start.spec
    assert start.paths.root == tmp_path / "cli" / "cli"
    assert (spec.num_samples, spec.max_concurrent, spec.time_budget_s, spec.cluster) == (9, 2, 5.0, "debug")
    checkpoint = spec.checkpoint
    assert (checkpoint.keep, checkpoint.max_total, checkpoint.max_total_bytes) == (2, 7, 10**9)
    assert start.setup.bind_search.space == {"model": {"lr": 0.5}}
    assert start.verbose == 0


def test_resume_from_the_command_line() -> None:
    launched(name="mine")
    with use(Overrides(resume="AUTO")):
        assert launched(name="mine").replaces_stored


def test_a_dry_run_shows_everything_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with use(Overrides(dry_run=True)), pytest.raises(SystemExit) as left:
        tune.run(
            train,
            name="mine",
            storage_path=tmp_path / "s",
            config={"lr": tune.uniform(0, 1), "n": tune.grid_search([1, 2, 3, 4])},
            num_samples=2,
            cluster="local",
        )
    text = capsys.readouterr().out
    assert left.value.code == 0
    assert list(tmp_path.iterdir()) == []
    for expected in (str(tmp_path / "s" / "mine"), "8", "1 CPU", "First 5 configurations", "lr", "hpctune.worker"):
        assert expected in text
    assert len(re.findall(r"^  \w{5}_\d{5} ", text, re.MULTILINE)) == 5


# -- the other entries -----------------------------------------------------------------------------------------------


def test_experiments_from_dicts() -> None:
    with pytest.raises(Captured) as caught:
        tune.run_experiments(
            {
                "one": {"run": train, "stop": {"a": 1}, "trial_resources": {"cpu": 1}, "num_samples": 2},
                "two": tune.Experiment("two", Klass, checkpoint_freq=2),
            },
            cluster="local",
        )
    one, two = caught.value.starts
    assert (one.spec.name, one.spec.num_samples, one.spec.criteria) == ("one", 2, {"a": 1})
    assert (two.spec.name, two.spec.checkpoint.frequency) == ("two", 2)
    assert one.setup.scheduler is not two.setup.scheduler or one.setup.scheduler is None


@pytest.mark.parametrize(
    ("spec", "says"), [({}, "run"), ({"run": train, "stopp": {}}, "stop"), ({"run": train, "num_samples": 0}, "num_s")]
)
def test_bad_experiments(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tune.run_experiments({"x": spec}, cluster="local")


def test_no_experiment_is_left_when_a_later_one_is_impossible(tmp_path: Path) -> None:
    good = tune.Experiment("good", train, storage_path=tmp_path / "s")
    bad = tune.Experiment("bad", train, storage_path=tmp_path / "s", resources_per_trial={"cpu": 10**6})
    with pytest.raises(TuneError):
        tune.run_experiments([good, bad], cluster="local")
    assert list((tmp_path / "s").iterdir()) == []


def test_names_of_experiments() -> None:
    experiment = tune.Experiment("mine", train, storage_path="/s")
    assert (experiment.path, experiment.local_dir, experiment.run_identifier) == ("/s/mine", "/s", "train")
    assert experiment.public_spec == {"stop": {}, "num_samples": 1, "time_budget_s": None}
    assert tune.Experiment.get_trainable_name(Klass) == "Klass"
    assert tune.Experiment.register_if_needed(train) == "train"
    assert captured(lambda: tune.run("train", cluster="local")).trainable is train


def tuner(**arguments: Any) -> tune.Tuner:
    return tune.Tuner(train, cluster="local", **arguments)


def test_tuner() -> None:
    start = captured(
        tuner(
            param_space={"lr": 1},
            tune_config=tune.TuneConfig("min", "loss", num_samples=3, max_concurrent_trials=2, time_budget_s=8),
            run_config=tune.RunConfig(
                name="mine",
                failure_config=tune.FailureConfig(2),
                checkpoint_config=tune.CheckpointConfig(4),
                stop={"a": 1},
                verbose=1,
                log_to_file="log",
            ),
        ).fit
    )
    spec = start.spec
    assert (spec.name, spec.metric, spec.mode, spec.num_samples) == ("mine", "loss", "min", 3)
    assert (spec.max_concurrent, spec.time_budget_s, spec.max_failures) == (2, 8.0, 2)
    assert (spec.checkpoint.keep, spec.criteria, spec.stdout, start.verbose) == (4, {"a": 1}, "log", 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"param_space": 3}, "param_space"),
        ({"tune_config": {"num_samples": 1}}, "tune_config"),
        ({"run_config": "x"}, "run_config"),
    ],
)
def test_bad_tuners(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tuner(**arguments)
    with pytest.raises(UsageError, match="trainable"):
        tune.Tuner()


def test_results_before_fit() -> None:
    with pytest.raises(RuntimeError, match="fit"):
        tuner().get_results()


def test_tuner_restore(tmp_path: Path) -> None:
    root = launched(name="mine", config={"lr": 1}).paths.root
    assert tune.Tuner.can_restore(root)
    assert not tune.Tuner.can_restore(tmp_path)
    start = captured(tune.Tuner.restore(root, train, restart_errored=True, param_space={"lr": 2}).fit)
    assert start.resume == ResumeChoice("skip", "resume", "restart")
    assert start.setup.bind_search.space == {"lr": 2}
    assert start.cluster.name == "local"
    with pytest.raises(UsageError, match="Klass"):
        tune.Tuner.restore(root, Klass)
    with pytest.raises(UsageError, match="exclude"):
        tune.Tuner.restore(root, train, resume_errored=True, restart_errored=True)
    with pytest.raises(TuneError):
        tune.Tuner.restore(tmp_path, train)


def test_resources_of_the_trainable() -> None:
    wanted = tune.with_resources(train, {"cpu": 1, "gpu": 0})
    assert launched(wanted).setup.resources_for({}) == Resources.parse({"cpu": 1, "gpu": 0})
    with pytest.raises(UsageError, match="with_resources"):
        tune.run(wanted, resources_per_trial={"cpu": 1}, cluster="local")
