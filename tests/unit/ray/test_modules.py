"""``import ray`` is hpctune, in a process and in those that it starts."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hpctune.errors import MissingPackageError
from hpctune.ray import names


def run(code: str, tmp_path: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text("import hpctune.ray\nhpctune.ray.install()\n" + textwrap.dedent(code))
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=check, cwd=tmp_path)


def test_names_of_all_generations(tmp_path: Path) -> None:
    run(
        """
        import hpctune, ray
        from ray import tune
        from ray.air import session
        from ray.train import Checkpoint, RunConfig, ScalingConfig
        from ray.tune.suggest.hyperopt import HyperOptSearch
        from ray.tune.search.hyperopt.hyperopt_search import HyperOptSearch as Again
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune import run, sample_from
        assert tune.schedulers.ASHAScheduler is ASHAScheduler is hpctune.schedulers.ASHAScheduler
        assert run is hpctune.run and Checkpoint is hpctune.Checkpoint and HyperOptSearch is Again
        assert session.report is hpctune.report and ray.tune is tune
        """,
        tmp_path,
    )


def test_packages_that_look_for_ray_find_it(tmp_path: Path) -> None:
    run(
        """
        import importlib.metadata, importlib.util
        assert importlib.util.find_spec("ray") and importlib.util.find_spec("ray.tune")
        assert importlib.metadata.version("ray") == "2.60.0"
        import ray
        assert ray.__version__ == "2.60.0"
        """,
        tmp_path,
    )


def test_without_it_there_is_no_ray_of_ours() -> None:
    code = "import sys, hpctune, hpctune.ray; print(hpctune.ray.installed(), any('site/ray' in p for p in sys.path))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import ray.rllib", "ray.rllib is not part of hpctune"),
        ("from ray.rllib.algorithms.ppo import PPO", "RLlib needs Ray's own workers"),
        ("from ray import serve", "Ray Serve is not here"),
        ("import ray.data", "tune.with_parameters"),
        ("from ray.tune.schedulers import ASHASchedulr", "Did you mean ASHAScheduler"),
        ("import ray; ray.tune.rnu", "Did you mean run"),
        ("from ray.train.horovod import HorovodTrainer", "Of Ray Train's trainers there are TorchTrainer"),
        ("from ray.tune.nowhere import x", "ray.tune.nowhere is not part of hpctune"),
    ],
)
def test_an_unknown_name_says_what_there_is(code: str, words: str, tmp_path: Path) -> None:
    done = run(code, tmp_path, check=False)
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]


def test_an_unknown_name_is_an_attribute_and_an_import_error(tmp_path: Path) -> None:
    run(
        """
        import ray
        assert not hasattr(ray, "nothing") and not hasattr(ray.tune, "__wrapped__")
        try:
            import ray.rllib
        except ModuleNotFoundError as error:
            assert "RLlib" in str(error)
        """,
        tmp_path,
    )


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_children_have_it(how: str, tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text("import ray\n\ndef child():\n    assert ray.__hpctune__\n")
    run(
        f"""
        import multiprocessing, part, subprocess, sys
        if __name__ == "__main__":
            process = multiprocessing.get_context({how!r}).Process(target=part.child)
            process.start(); process.join()
            assert process.exitcode == 0
            subprocess.run([sys.executable, "-c", "import ray; assert ray.__hpctune__"], check=True)
        """,
        tmp_path,
    )


def test_modules_can_be_pickled(tmp_path: Path) -> None:
    run(
        """
        import pickle, cloudpickle, ray.tune.schedulers
        assert pickle.loads(pickle.dumps(ray.tune)) is ray.tune
        assert cloudpickle.loads(cloudpickle.dumps(ray.tune.schedulers)) is ray.tune.schedulers
        """,
        tmp_path,
    )


def test_a_ray_that_was_imported_before_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("")
    script = tmp_path / "script.py"
    script.write_text("import ray, hpctune.ray\nhpctune.ray.install()\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert "ray has been imported before" in done.stderr


def test_every_source_exists() -> None:
    from importlib import import_module

    for module in [name for name in names._HOMES if names.known(name)]:
        for home in names.sources(module):
            with contextlib.suppress(MissingPackageError):  # of a framework that is not installed here
                import_module(home)
    for value in names.VALUES.values():
        home, _, attribute = value.partition(":")
        with contextlib.suppress(MissingPackageError):
            assert hasattr(import_module(home), attribute), value


def test_every_module_has_its_parents() -> None:
    assert [name for name in names._HOMES if name != "ray" and not names.known(name.rpartition(".")[0])] == []


def test_names_of_0_x_do_what_they_mean(tmp_path: Path) -> None:
    done = run(
        """
        import ray
        from ray import tune
        from ray.tune.function_runner import StatusReporter
        from ray.tune.suggest import SuggestionAlgorithm
        from ray.util.annotations import Deprecated, DeveloperAPI, PublicAPI

        class Twice(SuggestionAlgorithm):
            asked = 0
            def _suggest(self, trial_id):
                self.asked += 1
                return {"x": self.asked} if self.asked < 3 else None
            def on_trial_complete(self, trial_id, result=None, error=False, early_terminated=False):
                pass

        @PublicAPI(stability="beta")
        @DeveloperAPI
        def train(config, reporter: StatusReporter):
            assert isinstance(reporter, StatusReporter)
            assert reporter.logdir and reporter.trial_id in reporter.trial_name
            reporter(loss=config["x"])

        @Deprecated(message="old")
        class Old:
            pass

        found = tune.run(train, search_alg=Twice(), num_samples=2, metric="loss", mode="max", verbose=0, local_dir=".")
        assert ray.services.get_node_ip_address() == ray._private.services.get_node_ip_address()
        print(found.best_config, Old.__name__)
        """,
        tmp_path,
    )
    assert done.stdout.splitlines()[-1] == "{'x': 2} Old"


def test_helpers_of_1_x(tmp_path: Path) -> None:
    done = run(
        """
        import json, os
        from ray.tune.utils import env_integer
        from ray.tune.utils.util import SafeFallbackEncoder, is_nan_or_inf
        os.environ["N"] = "3"
        print(env_integer("N", 1), env_integer("M", 1), is_nan_or_inf(float("inf")), is_nan_or_inf(1))
        print(json.dumps({"a": {1}, "b": range(2)}, cls=SafeFallbackEncoder))
        """,
        tmp_path,
    )
    assert done.stdout.splitlines() == ["3 1 True False", '{"a": [1], "b": "range(0, 2)"}']
