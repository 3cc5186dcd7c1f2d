"""Single arguments of the public functions: every form that works, one clear error for all else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.common import env
from hpctune.core.resume import ResumeChoice
from hpctune.errors import TuneError, UsageError
from hpctune.launch import arguments
from hpctune.launch.resume import Resume, When, parse_resume
from hpctune.run_config import CheckpointConfig, FailureConfig, RunConfig
from hpctune.storage import checkpoints
from hpctune.syncer import DockerSyncer, KubernetesSyncer, NamespacedKubernetesSyncer, SyncConfig, mirror_options
from hpctune.tune_config import ResumeConfig, ResumeType, TuneConfig

# -- where ------------------------------------------------------------------------------------------------------------


def storage(given: Any = None, older: Any = None) -> Path:
    return tune.Experiment("name", lambda config: None, storage_path=given, local_dir=older).storage


def test_storage_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HPCTUNE_RESULT_DIR", raising=False)
    monkeypatch.delenv("TUNE_RESULT_DIR", raising=False)
    assert storage(None) == tmp_path / "hpctune_results"
    monkeypatch.setenv("TUNE_RESULT_DIR", "/results")
    assert storage(None) == Path("/results")
    assert storage("~/x") == tmp_path / "x"
    assert storage(tmp_path) == tmp_path
    assert storage(None, "/older") == Path("/older")
    assert storage("file:///data") == Path("/data")
    assert storage("relative") == Path.cwd() / "relative"


@pytest.mark.parametrize("bad", [3, "", True])
def test_storage_path_must_be_a_path(bad: Any) -> None:
    with pytest.raises(UsageError, match="storage_path"):
        storage(bad)


def test_storage_path_and_local_dir_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="local_dir"):
        storage("/a", "/b")


# -- small values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "seconds"), [(None, None), (5, 5.0), (0.5, 0.5), (timedelta(minutes=2), 120.0)])
def test_time_budget(given: Any, seconds: float | None) -> None:
    assert arguments.seconds(given) == seconds


@pytest.mark.parametrize("bad", [0, -1, "5", float("nan"), True, timedelta(0)])
def test_bad_time_budget(bad: Any) -> None:
    with pytest.raises(UsageError, match="time_budget_s"):
        arguments.seconds(bad)


@pytest.mark.parametrize(
    ("given", "files"),
    [
        (False, ("stdout", "stderr")),
        (None, ("stdout", "stderr")),
        (True, ("stdout", "stderr")),
        ("all.log", ("all.log", "all.log")),
        (("o.txt", "e.txt"), ("o.txt", "e.txt")),
        (["o.txt", None], ("o.txt", "stderr")),
    ],
)
def test_log_to_file(given: Any, files: tuple[str, str]) -> None:
    assert arguments.log_files(given) == files


@pytest.mark.parametrize("bad", [("a",), ("a", "b", "c"), 3, "dir/a", ("a", ".."), {"a": 1}])
def test_bad_log_to_file(bad: Any) -> None:
    with pytest.raises(ValueError, match="log_to_file"):
        arguments.log_files(bad)


def test_older_checkpoint_options() -> None:
    config = arguments.checkpoint_config(
        None, checkpoint_freq=2, checkpoint_at_end=True, keep_checkpoints_num=3, checkpoint_score_attr="min-loss"
    )
    policy = config.policy()
    assert (policy.keep, policy.frequency, policy.at_end) == (3, 2, True)
    assert (policy.score_attribute, policy.score_order) == ("loss", "min")
    assert arguments.checkpoint_config(None, checkpoint_score_attr="acc").policy().score_order == "max"
    assert arguments.checkpoint_config({"num_to_keep": 2}).num_to_keep == 2


def test_checkpoint_options_of_both_kinds_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="keep_checkpoints_num"):
        arguments.checkpoint_config(CheckpointConfig(), keep_checkpoints_num=1)


def test_export_formats() -> None:
    assert arguments.export_formats(["model", "h5"]) == ("model", "h5")
    with pytest.raises(TuneError, match="onyx"):
        arguments.export_formats(["onyx"])


def test_restore_must_exist(tmp_path: Path) -> None:
    assert arguments.restore_path(None) is None
    assert arguments.restore_path(tmp_path) == str(tmp_path)
    (tmp_path / "model.pt").touch()
    with pytest.raises(UsageError, match=str(tmp_path)):
        arguments.restore_path(tmp_path / "model.pt")
    with pytest.raises(UsageError, match="no checkpoint directory"):
        arguments.restore_path(tmp_path / "none")
    checkpoints.write_progress(tmp_path, checkpoints.Progress())
    assert arguments.restore_path(tmp_path / "model.pt") == str(tmp_path), "a path in a checkpoint means the checkpoint"


def test_resources_may_depend_on_the_config() -> None:
    assert arguments.resource_request({"cpu": 2}) == {"cpu": 2}
    whole = arguments.resource_request(tune.sample_from(lambda spec: {"cpu": spec.config.n}))
    assert whole({"n": 3}) == {"cpu": 3}
    each = arguments.resource_request({"cpu": lambda spec: spec.config.n, "gpu": 1})
    assert each({"n": 2}) == {"cpu": 2, "gpu": 1}


# -- config classes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"num_to_keep": 0},
        {"num_to_keep": -1},
        {"num_to_keep": 1.5},
        {"checkpoint_score_order": "best"},
        {"max_total_checkpoints": 0},
        {"max_total_checkpoints": 1.5},
        {"max_total_bytes": 0},
        {"max_total_bytes": "lots"},
        {"checkpoint_frequency": -1},
        {"_checkpoint_keep_all_ranks": True},
    ],
)
def test_bad_checkpoint_config(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        CheckpointConfig(**bad)


def test_deprecated_sentinels_are_accepted() -> None:
    CheckpointConfig(_checkpoint_keep_all_ranks="DEPRECATED", _checkpoint_upload_from_workers=False)


def test_unknown_key_of_a_checkpoint_dict() -> None:
    with pytest.raises(UsageError, match="num_keep"):
        CheckpointConfig.parse({"num_keep": 1})
    with pytest.raises(UsageError, match="checkpoint_config"):
        CheckpointConfig.parse(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("failures", "fast"), [(-2, False), ("1", False), (True, False), (1, True), (0, "rise")])
def test_bad_failure_config(failures: Any, fast: Any) -> None:
    with pytest.raises(ValueError, match=r"max_failures|fail_fast"):
        FailureConfig(failures, fast)


def test_good_failure_config() -> None:
    assert FailureConfig(-1).max_failures == -1
    assert FailureConfig(fail_fast="raise").fail_fast == "raise"


def test_run_config_checks_kinds() -> None:
    with pytest.raises(UsageError, match="failure_config"):
        RunConfig(failure_config={"max_failures": 1})  # type: ignore[arg-type]
    assert RunConfig(checkpoint_config={"num_to_keep": 1}).checkpoint_config == CheckpointConfig(1)  # type: ignore[arg-type]
    assert RunConfig().checkpoint_config == CheckpointConfig()


def test_field_names_of_ray_tune() -> None:
    assert [*TuneConfig.__dataclass_fields__] == [
        "mode",
        "metric",
        "search_alg",
        "scheduler",
        "num_samples",
        "max_concurrent_trials",
        "time_budget_s",
        "reuse_actors",
        "trial_name_creator",
        "trial_dirname_creator",
        "chdir_to_trial_dir",
        "budget",  # ours, after all of theirs
    ]
    assert [*RunConfig.__dataclass_fields__] == [
        "name",
        "storage_path",
        "storage_filesystem",
        "failure_config",
        "checkpoint_config",
        "sync_config",
        "verbose",
        "stop",
        "callbacks",
        "progress_reporter",
        "log_to_file",
        "local_dir",
        "share_with_group",  # ours, after all of theirs
    ]


# -- resume -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Resume()),
        (False, Resume()),
        (True, Resume(When.ALWAYS)),
        ("LOCAL", Resume(When.ALWAYS)),
        ("AUTO", Resume(When.IF_POSSIBLE)),
        ("PROMPT", Resume(When.ASK)),
        ("ERRORED_ONLY", Resume(When.ALWAYS, ResumeChoice("skip", "skip", "restart"))),
        ("AUTO+ERRORED", Resume(When.IF_POSSIBLE, ResumeChoice("skip", "resume", "resume"))),
        ("AUTO+RESTART_ERRORED", Resume(When.IF_POSSIBLE, ResumeChoice("skip", "resume", "restart"))),
        ("LOCAL+ERRORED_ONLY", Resume(When.ALWAYS, ResumeChoice("skip", "skip", "resume"))),
        ("LOCAL+RESTART_ERRORED_ONLY", Resume(When.ALWAYS, ResumeChoice("skip", "skip", "restart"))),
        ("PROMPT+ERRORED", Resume(When.ASK, ResumeChoice("skip", "resume", "resume"))),
    ],
)
def test_forms_of_resume(given: Any, expected: Resume) -> None:
    assert parse_resume(given) == expected


@pytest.mark.parametrize("bad", ["local", "AUTO+", "AUTO+ALL", "YES", 3, "ERRORED_ONLY+ERRORED"])
def test_bad_resume(bad: Any) -> None:
    with pytest.raises(UsageError, match="resume="):
        parse_resume(bad)


def test_remote_resume_may_have_suffixes() -> None:
    parsed = parse_resume("REMOTE+ERRORED")
    assert (parsed.when, parsed.choice.errored) == (When.REMOTE, "resume")


def test_resume_config() -> None:
    config = ResumeConfig(finished="skip", unfinished=ResumeType.RESTART, errored=ResumeConfig.ResumeType.RESUME)
    assert parse_resume(True, config) == Resume(When.ALWAYS, ResumeChoice("skip", "restart", "resume"))
    with pytest.raises(UsageError, match="errored"):
        ResumeConfig(errored="again")
    with pytest.raises(UsageError, match="resume=True"):
        parse_resume(None, config)
    with pytest.raises(UsageError, match="both"):
        parse_resume("AUTO+ERRORED", config)
    with pytest.raises(UsageError, match="ResumeConfig"):
        parse_resume(True, {"errored": "resume"})  # type: ignore[arg-type]


# -- sync -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "harmless", [None, SyncConfig(), SyncConfig(syncer=None), SyncConfig(sync_to_driver=False), {}]
)
def test_sync_without_another_place_is_nothing(harmless: Any) -> None:
    assert mirror_options(harmless) is None


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ({}, {"place": "s3://b", "means": "auto", "period_s": 300, "timeout_s": 1800, "artifacts": False}),
        ({"sync_period": 10, "sync_timeout": 60}, {"period_s": 10, "timeout_s": 60}),
        ({"sync_artifacts": True}, {"artifacts": True}),
        ({"cloud_sync_period": 20}, {"period_s": 20}),
        ({"syncer": "rsync {source} {target}"}, {"means": "rsync {source} {target}"}),
        ({"sync_to_cloud": print}, {"means": print}),
        ({"sync_to_driver": DockerSyncer, "node_sync_period": 5}, {"means": "auto"}),
    ],
)  # fmt: skip
def test_sync_to_another_place(asks: dict[str, Any], expected: dict[str, Any]) -> None:
    made = mirror_options(SyncConfig(upload_dir="s3://b", **asks))
    assert {name: getattr(made, name) for name in expected} == expected
    config = SyncConfig(upload_dir="s3://b", sync_period=7, sync_artifacts=True)
    moved = tune.Experiment("a", lambda config: None, sync_config=config).mirror_in("s3://c")
    assert moved is not None
    assert (moved.place, moved.period_s, moved.artifacts) == ("s3://c", 7, True), "of the command line only the place"
    off = tune.Experiment("a", lambda config: None, storage_path="s3://b", sync_config=SyncConfig(syncer=None))
    assert off.mirror is None
    assert off.storage == env.settings().result_dir.absolute()
    assert mirror_options(SyncConfig(upload_dir="s3://b", syncer=None)) is None
    assert mirror_options(SyncConfig(upload_dir="")) is None


@pytest.mark.parametrize(
    ("positional", "expected"),
    [
        (("s3://b",), {"place": "s3://b", "means": "auto", "period_s": 300, "timeout_s": 1800, "artifacts": False}),
        ((Path("s3://b/dir"), print), {"place": "s3://b/dir", "means": print, "period_s": 300, "timeout_s": 1800}),
        (("s3://b", DockerSyncer(7)), {"period_s": 7}),
        (("s3://b", DockerSyncer(7), 60), {"period_s": 60}),
        (("s3://b", "auto", 60), {"means": "auto", "period_s": 60, "artifacts": False}),
        ((60, 90, True), {"period_s": 60, "timeout_s": 90, "artifacts": True, "place": "s3://c"}),
    ],
)
def test_positions_of_earlier_generations(positional: tuple[Any, ...], expected: dict[str, Any]) -> None:
    made = mirror_options(SyncConfig(*positional), None if isinstance(positional[0], (str, Path)) else "s3://c")
    assert {name: getattr(made, name) for name in expected} == expected
    assert mirror_options(SyncConfig("s3://b", None)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asks", "said"),
    [
        ({"sync_to_driver": "rsync {source}"}, "lacks"),
        ({"upload_dir": "s3://b", "sync_to_cloud": "rsync {target}"}, "lacks"),
        ({"upload_dir": "s3://b", "syncer": DockerSyncer}, r"is a class.*DockerSyncer\(\)"),
        ({"upload_dir": "s3://b", "sync_period": "s3://c"}, "sync_period"),
        ({"upload_dir": "s3://b", "sync_period": "10"}, "sync_period"),
    ],
)
def test_syncers_that_cannot_be(asks: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        mirror_options(SyncConfig(**asks))


def test_what_is_no_sync_config() -> None:
    with pytest.raises(UsageError, match="SyncConfig"):
        mirror_options("s3://bucket")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="differ"):
        mirror_options(SyncConfig(upload_dir="s3://b"), "s3://c")


@pytest.mark.parametrize("syncer", [DockerSyncer, KubernetesSyncer, NamespacedKubernetesSyncer("mine")])
def test_container_syncers_have_nothing_to_do(syncer: Any) -> None:
    assert syncer().sync_up("a", "b")
    assert syncer().sync_down("b", "a")
    assert syncer().delete("b")
