"""What the command line and the environment say over a script."""

from __future__ import annotations

from pathlib import Path

import pytest

import hpctune as tune
from hpctune.common import env
from hpctune.errors import UsageError
from hpctune.launch.overrides import Overrides, current, use
from hpctune.space.replace import replace_values

SPACE = {"lr": tune.loguniform(1e-4, 1e-1), "model": {"layers": [tune.randint(1, 3), 8], "act": "relu"}, "a.b": 1}


def test_nothing_is_overridden_unless_asked_for() -> None:
    assert current() == Overrides()
    with use(Overrides(name="x")) as inner:
        assert current() is inner
        with use(Overrides(num_samples=3)):
            assert current().name is None
        assert current().name == "x"
    assert current() == Overrides()


def test_overrides_end_with_an_exception_too() -> None:
    with pytest.raises(RuntimeError), use(Overrides(name="x")):
        raise RuntimeError
    assert current().name is None


@pytest.mark.parametrize("key", ["model/act", "model.act"])
def test_a_value_replaces_what_the_space_has(key: str) -> None:
    assert replace_values(SPACE, {key: "tanh"})["model"]["act"] == "tanh"
    assert SPACE["model"]["act"] == "relu"


def test_domains_list_items_and_keys_with_dots_can_be_replaced() -> None:
    changed = replace_values(SPACE, {"lr": 0.1, "model/layers/1": 16, "a.b": 2})
    assert changed["lr"] == 0.1
    assert changed["model"]["layers"][1] == 16
    assert changed["a.b"] == 2


def test_whole_branches_can_be_replaced() -> None:
    assert replace_values(SPACE, {"model": {"other": 1}})["model"] == {"other": 1}


@pytest.mark.parametrize(
    ("key", "nearest"), [("lrr", "lr"), ("model/acts", "model/act"), ("layers", "model/layers"), ("model.act.x", "act")]
)
def test_an_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=nearest):
        replace_values(SPACE, {key: 1})


def test_the_call_limit_is_an_option_of_slurm() -> None:
    assert Overrides(slurm={"partition": "gpu"}, calls_per_minute=30).slurm_options == {
        "partition": "gpu",
        "calls_per_minute": 30,
    }


# -- environment variables --------------------------------------------------------------------------------------------


def test_both_names_of_a_variable_work_and_the_own_one_wins() -> None:
    assert env.settings({"TUNE_RESULT_DIR": "/a"}).result_dir == Path("/a")
    assert env.settings({"TUNE_RESULT_DIR": "/a", "HPCTUNE_RESULT_DIR": "/b"}).result_dir == Path("/b")
    assert env.settings({"RAY_AIR_LOCAL_CACHE_DIR": "/c"}).result_dir == Path("/c")
    assert env.settings({"RAY_AIR_LOCAL_CACHE_DIR": "/c", "TUNE_RESULT_DIR": "file:///a"}).result_dir == Path("/a")
    with pytest.raises(UsageError, match="TUNE_RESULT_DIR must be a directory that all nodes see, not a URL"):
        env.settings({"TUNE_RESULT_DIR": "s3://key:secret@bucket/dir"})
    assert env.settings({"TUNE_MAX_PENDING_TRIALS_PG": "7"}).max_pending == 7
    assert env.settings({"HPCTUNE_MAX_PENDING_TRIALS": "8"}).max_pending == 8


def test_defaults() -> None:
    found = env.settings({})
    assert found.result_dir == Path.home() / "hpctune_results"
    assert (found.max_pending, found.strict_metric, found.dated_names, found.signals) == (None, True, True, True)
    assert found.stop_grace_s is None


def test_flags_and_numbers() -> None:
    found = env.settings(
        {
            "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
            "TUNE_DISABLE_DATED_SUBDIR": "1",
            "TUNE_DISABLE_SIGINT_HANDLER": "0",
            "TUNE_FORCE_TRIAL_CLEANUP_S": "12",
            "TUNE_WARN_THRESHOLD_S": "2.5",
        }
    )
    assert (found.strict_metric, found.dated_names, found.signals) == (False, False, True)
    assert (found.stop_grace_s, found.warn_threshold_s) == (12.0, 2.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TUNE_MAX_PENDING_TRIALS_PG", "many"),
        ("TUNE_MAX_PENDING_TRIALS_PG", "0"),
        ("HPCTUNE_FORCE_TRIAL_CLEANUP_S", "-1"),
        ("TUNE_DISABLE_DATED_SUBDIR", "perhaps"),
    ],
)
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        env.settings({name: value})


def test_variables_without_meaning_are_found() -> None:
    assert env.without_effect({"TUNE_RESULT_DIR": "/a", "TUNE_GLOBAL_CHECKPOINT_S": "5", "HOME": "/"}) == [
        "TUNE_GLOBAL_CHECKPOINT_S"
    ]


def test_jobs_are_told_only_what_they_need() -> None:
    given = {"HPCTUNE_DEBUG": "1", "HPCTUNE_CHECKPOINT": "/x", "AWS_SECRET_ACCESS_KEY": "s", "PATH": "/bin"}
    assert env.for_workers(given) == {"HPCTUNE_DEBUG": "1"}
