"""Hydra's overrides, Optuna's configurations and submitit's launchers as searches of ours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpctune.errors import TrainableError, UsageError
from hpctune.interop.hydra_launcher import options_of
from hpctune.interop.hydra_space import HydraSpace, from_search_space, space_of
from hpctune.space import choice, lograndint, loguniform, randint, uniform
from hpctune.worker.hydra_job import HydraJob, text_of

pytest.importorskip("hydra")


def space(*arguments: str, **params: Any) -> HydraSpace:
    return space_of(params, arguments, None)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x=1,2.5,a", [1, 2.5, "a"]),
        ("x=true,null", [True, None]),
        ("x=range(1,8,3)", [1, 4, 7]),
        ("x=range(0,1,0.5)", [0.0, 0.5]),
        ("x=sort(3,1,2)", [1, 2, 3]),
        ("x=sort(3,1,2,reverse=true)", [3, 2, 1]),
        ("x=[1,2],[3]", ["[1,2]", "[3]"]),
        ("x='a b','c'", ["'a b'", "'c'"]),
        ("x={a:1},{a:2}", ["{a:1}", "{a:2}"]),
        ("x=float(range(1,3))", [1.0, 2.0]),
        ("x=tag(t1, choice(a,b))", ["a", "b"]),
        ("x=str(choice(a,b))", ["a", "b"]),
    ],
)
def test_discrete_sweeps(text: str, values: list[Any]) -> None:
    found = space(text)
    assert found.values == {"x": values}
    assert found.rows() == [{"x": value} for value in values]
    assert found.space() == {"x": choice(values)}


def test_a_shuffle_has_the_same_values() -> None:
    assert sorted(space("x=shuffle(1,2,3)").values["x"]) == [1, 2, 3]
    assert sorted(space("x=shuffle(range(1,4))").values["x"]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("x=interval(0,1)", uniform(0, 1)),
        ("x=int(interval(1,8))", randint(1, 9)),
        ("x=tag(log, interval(0.001, 1))", loguniform(0.001, 1)),
        ("x=tag(log, int(interval(1, 100)))", lograndint(1, 101)),
    ],
)
def test_intervals(text: str, domain: Any) -> None:
    found = space(text)
    assert found.space() == {"x": domain}
    with pytest.raises(UsageError, match="x is an interval"):
        found.rows()


def test_intervals_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="smaller to a greater"):
        space("x=interval(2,1)")
    with pytest.raises(UsageError, match="greater than 0"):
        space("x=tag(log, interval(0,1))")


def test_the_command_line_wins_and_the_order_is_that_of_hydra() -> None:
    found = space("b=3", "+c=7,8", "~d", "model/net@here=x", a="choice(1,2)", b="range(1,3)", e=5)
    assert found.rows() == [{"a": a, "c": c} for a in (1, 2) for c in (7, 8)]
    job = HydraJob(None, None, None, None, tuple(found.order), found.fixed, found.keys, ("value",), ".")
    assert job.overrides({"a": 1, "c": 8}) == ["a=1", "b=3", "e=5", "+c=8", "~d", "model/net@here=x"]


def test_the_text_of_values() -> None:
    assert list(map(text_of, (1, 1e-05, True, None, "'a b'"))) == ["1", "1e-05", "True", "null", "'a b'"]
    for value in (1, 1e-05, 0.1, True, None, float("inf")):
        assert space(f"x={text_of(value)},{text_of(value)}").values["x"] == [value, value]


def test_the_search_space_of_older_files() -> None:
    found = from_search_space(
        {
            "a": {"type": "float", "low": 0.1, "high": 1, "log": True},
            "b": {"type": "int", "low": 1, "high": 3},
            "c": {"type": "categorical", "choices": [1, "x"]},
            "d": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.5},
        }
    )
    assert space(**found).space() == {
        "a": loguniform(0.1, 1), "b": randint(1, 4), "c": choice([1, "x"]), "d": choice([0.0, 0.5, 1.0])
    }  # fmt: skip
    with pytest.raises(UsageError, match="a has no type"):
        from_search_space({"a": {"low": 1}})


SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher."


def test_the_launchers_fields() -> None:
    given = {
        "_target_": f"{SUBMITIT}SlurmLauncher", "submitit_folder": "x", "timeout_min": 90, "cpus_per_task": 4,
        "gpus_per_node": 1, "tasks_per_node": 2, "mem_gb": 16, "nodes": 1, "name": "app", "partition": "gpu",
        "qos": None, "additional_parameters": {"mail-user": "me"}, "setup": ["module load cuda"],
        "array_parallelism": 8,
    }  # fmt: skip
    cluster, slurm, at_a_time = options_of(given)
    assert (cluster, at_a_time) == ("slurm", 8)
    assert slurm == {
        "partition": "gpu", "cpus_per_task": 4, "gpus_per_node": 1, "ntasks_per_node": 2, "mem": "16G", "time": 90,
        "setup": ["module load cuda"], "additional_parameters": {"mail-user": "me"},
    }  # fmt: skip
    assert options_of({"_target_": f"{SUBMITIT}LocalLauncher", "timeout_min": 3}) == ("local", {}, None)
    assert options_of({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}) == (None, {}, None)
    joblib = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    assert options_of({"_target_": joblib, "n_jobs": 3}) == ("local", {}, 3)
    with pytest.raises(UsageError, match="lanes is not known"):
        options_of({"_target_": f"{SUBMITIT}SlurmLauncher", "lanes": 3})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"direction": "smallest"}, "direction is minimize or maximize"),
        ({"direction": ["minimize", "maximize"], "metric": "loss"}, "1 metric and 2 direction"),
        ({"custom_search_space": "a.b"}, "Write params instead"),
        ({"sampler": "grid"}, "x is an interval"),
        ({"sampler": {"_target_": "optuna.samplers.NSGAIISampler"}}, "none like 'NSGAIISampler'"),
        ({"sampler": "tpee"}, 'There is no search algorithm "tpee"'),
        ({"scheduler": {"max_t": 3}}, "scheduler needs a name"),
        ({"resume": True}, "has no sweep to go on with"),
        ({"params": {"x": "interval(1,0)"}}, "smaller to a greater"),
    ],
)
def test_a_sweep_that_cannot_be(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from hydra_plugins.hpctune_sweeper import HpctuneSweeper, HpctuneSweeperConf

    defaults = {name: value for name, value in vars(HpctuneSweeperConf()).items() if not name.startswith("_")}
    sweeper = HpctuneSweeper(**{**defaults, "params": {"x": "interval(0,1)"}, **options})
    sweeper.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "out")}, "launcher": {}}})
    sweeper.hydra_context = SimpleNamespace(config_loader=None)  # type: ignore[assignment]
    with pytest.raises(HydraException) as error:
        sweeper.sweep([])
    assert words in str(error.value)
    assert not (tmp_path / "out" / "hpctune").exists()


def test_a_sampler_of_optuna_gives_its_options(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    from hpctune.interop.hydra_sweep import _Multirun
    from hydra_plugins.hpctune_sweeper import HpctuneSweeper, HpctuneSweeperConf

    defaults = {name: value for name, value in vars(HpctuneSweeperConf()).items() if not name.startswith("_")}
    sampler = {"_target_": "optuna.samplers.TPESampler", "seed": 4, "n_startup_trials": 3, "multivariate": True}
    for given, found in (
        (sampler, ("tpe", {"seed": 4, "n_initial_points": 3})),
        ({**sampler, "_target_": "optuna.samplers.GridSampler", "seed": None}, ("grid", {"n_initial_points": 3})),
        ("gp", ("gp", {})),
        (None, (None, {})),
    ):
        sweeper = HpctuneSweeper(**{**defaults, "params": {"x": "1,2,3"}, "sampler": given, "n_trials": 2})
        sweeper.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}, "launcher": {}}})
        sweeper.hydra_context = SimpleNamespace(config_loader=None)  # type: ignore[assignment]
        assert _Multirun(sweeper, [])._sampler() == found
    sweeper = HpctuneSweeper(**{**defaults, "params": {"x": "1,2,3"}, "sampler": "grid", "n_trials": 2})
    sweeper.validate_batch_is_legal = lambda batch: None  # type: ignore[method-assign]
    sweeper.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}, "launcher": {}}})
    sweeper.hydra_context = SimpleNamespace(config_loader=None)  # type: ignore[assignment]
    assert _Multirun(sweeper, [])._search()[0] == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize(
    ("value", "result"),
    [(None, None), (1, {"loss": 1.0}), ({"a": 2}, {"a": 2}), ("0.5", {"loss": 0.5})],
)
def test_what_a_task_function_may_return(value: Any, result: Any) -> None:
    job = HydraJob(None, None, None, None, (), {}, {}, ("loss",), ".")
    assert job._result(value) == result
    with pytest.raises(TrainableError, match="no number"):
        job._result([1, 2])


def test_a_task_function_may_return_several_metrics() -> None:
    job = HydraJob(None, None, None, None, (), {}, {}, ("a", "b"), ".")
    assert job._result((1, "2")) == {"a": 1.0, "b": 2.0}
    for wrong in (1, (1, 2, 3)):
        with pytest.raises(TrainableError, match="not a number for each of a, b"):
            job._result(wrong)
