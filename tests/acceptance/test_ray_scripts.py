"""Scripts that import ray run as they are, on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent

OF_0 = """
import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune import Trainable, run_experiments, register_trainable

class Train(Trainable):
    def _setup(self, config):
        self.n = 0
    def _train(self):
        self.n += 1
        return {"mean_loss": self.n + self.config["x"], "of_ray": ray.__hpctune__}
    def _save(self, path):
        return {"n": self.n}
    def _restore(self, state):
        self.n = state["n"]

if __name__ == "__main__":
    ray.init(redis_address=None, num_gpus=0)
    register_trainable("mine", Train)
    spec = {"run": "mine", "stop": {"training_iteration": 2}, "config": {"x": tune.grid_search([1, 2])}}
    run_experiments({"old": spec})
"""
OF_1 = """
import argparse
import ray
from ray import tune
from ray.tune.suggest import ConcurrencyLimiter
from ray.tune.suggest.basic_variant import BasicVariantGenerator
from ray.tune.utils.placement_groups import PlacementGroupFactory

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int)

def train(config, checkpoint_dir=None, data=None):
    for step in range(config["steps"]):
        tune.report(mean_loss=step + len(ray.get(data)) + config["x"], of_ray=ray.__hpctune__)

if __name__ == "__main__":
    args = parser.parse_args()
    ray.init(address=None, num_cpus=2)
    ref = ray.put([0] * 10)
    analysis = tune.run(
        tune.with_parameters(train, data=ref), name="old", metric="mean_loss", mode="min", num_samples=1,
        config={"x": tune.grid_search([1, 2]), "steps": args.steps}, search_alg=BasicVariantGenerator(),
        resources_per_trial=PlacementGroupFactory([{"CPU": 1}]), verbose=1)
    assert analysis.best_config["x"] == 1
    ray.shutdown()
"""
OF_2 = """
import multiprocessing, subprocess, sys
import ray
from ray import train, tune
from ray.air import session
from ray.tune.search.basic_variant import BasicVariantGenerator

@ray.remote
def prepare(x):
    return x + 1

def child(queue):
    import ray.tune
    queue.put(ray.__hpctune__)

def fit(config):
    found = []
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        found.append(queue.get(timeout=60))
        process.join()
    code = "import ray.tune, importlib.metadata; assert ray.__hpctune__; importlib.metadata.version('ray')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert session.get_trial_name() == train.get_context().get_trial_name()
    for step in range(2):
        train.report({"mean_loss": config["x"] + len(ray.get(config["data"])), "of_ray": all(found)})

if __name__ == "__main__":
    tuner = tune.Tuner(
        fit, param_space={"x": tune.grid_search([ray.get(prepare.remote(0)), 2]), "data": ray.put([0])},
        tune_config=tune.TuneConfig(metric="mean_loss", mode="min", search_alg=BasicVariantGenerator()),
        run_config=train.RunConfig(name="old", verbose=1))
    assert tuner.fit().get_best_result().config["x"] == 1
"""


def run(place: Path, script: str, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    (place / "script.py").write_text(script)
    env = {**os.environ, "HPCTUNE_RESULT_DIR": str(place / "results")}
    words = [sys.executable, "-m", "hpctune.ray", "script.py"] if not command else [str(BIN / "hpctune"), *command]
    done = subprocess.run(words, capture_output=True, text=True, cwd=place, env=env, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def last_rows(place: Path) -> list[dict[str, Any]]:
    files = sorted((place / "results" / "old").glob("*/result.json"))
    return [json.loads(file.read_text().splitlines()[-1]) for file in files]


@pytest.mark.parametrize(
    ("script", "arguments"), [(OF_0, ()), (OF_1, ("--", "--steps", "2")), (OF_2, ())], ids=["0.x", "1.9", "2.x"]
)
def test_a_script_of_each_generation(script: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path, script, "run", "script.py", "--cluster", "local", *arguments)
    assert [row["of_ray"] for row in last_rows(tmp_path)] == [True, True]
    assert done.stderr.count("'import ray' is hpctune") == 1


def test_workers_have_it_too(tmp_path: Path) -> None:
    run(tmp_path, OF_2, "run", "script.py", "--cluster", "local", "--workers", "1")
    assert [row["of_ray"] for row in last_rows(tmp_path)] == [True, True]


def test_the_module_runs_a_script(tmp_path: Path) -> None:
    done = run(tmp_path, "import sys, ray\nassert ray.__hpctune__\nprint(sys.argv)\n")
    assert "['" in done.stdout


def test_an_installed_ray_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("REAL = True\n")
    done = run(tmp_path, "import ray\nprint(ray.REAL)\n", "run", "script.py", "--ray", "installed")
    assert done.stdout.strip() == "True"
    assert "the Ray that is installed" in done.stderr


def test_local_mode_runs_here(tmp_path: Path) -> None:
    script = """
import os, ray
from ray import tune

here = os.getpid()

def train(config):
    tune.report({"same": os.getpid() == here})

ray.init(local_mode=True)
tune.run(train, name="old", verbose=0)
"""
    run(tmp_path, script, "run", "script.py")
    assert [row["same"] for row in last_rows(tmp_path)] == [True]


def test_an_actor_in_a_trainable_is_refused_before_a_job(tmp_path: Path) -> None:
    script = """
import ray
from ray import tune
@ray.remote
class Counter:
    def add(self): pass
counter = Counter.remote()
tune.run(lambda config: counter.add.remote(), name="old")
"""
    done = run(tmp_path, script, "run", "script.py", "--cluster", "local", code=1)
    assert "script.py, line 7: the actor Counter" in done.stderr
    assert not list((tmp_path / "results").glob("old/*/result.json"))


def test_resume_needs_no_choice(tmp_path: Path) -> None:
    mended = str(tmp_path / "mended")
    fails = f"import os\n    if not os.path.exists({mended!r}):\n        raise ValueError\n    found = []"
    script = OF_2.replace("found = []", fails).replace(
        'assert tuner.fit().get_best_result().config["x"] == 1', "tuner.fit()"
    )
    run(tmp_path, script, "run", "script.py", "--cluster", "local", code=1)
    (tmp_path / "mended").touch()
    run(tmp_path, script, "resume", str(tmp_path / "results" / "old"), "--errored")
    assert [row["of_ray"] for row in last_rows(tmp_path)] == [True, True]


def test_a_script_that_mends_what_failed_ends_well(tmp_path: Path) -> None:
    script = """
import os
from ray import tune

def train(config):
    if not os.path.exists(config["mended"]):
        raise ValueError("by design")
    tune.report({"x": 1})

mended = os.path.abspath("mended")
failed = tune.Tuner(train, param_space={"mended": mended}, run_config=tune.RunConfig(name="old", verbose=0)).fit()
assert failed.num_errors == 1
open(mended, "w").close()
assert tune.Tuner.restore(failed.experiment_path, train, restart_errored=True).fit().num_errors == 0
"""
    done = run(tmp_path, script, "run", "script.py", "--cluster", "local")
    assert "1 of 1 trial failed" not in done.stderr


def test_examples_of_ray_are_found_where_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "ray" / "tune" / "examples" / "more"
    folder.mkdir(parents=True)
    (folder / "common.py").write_text(
        "from ray import tune\n\ndef train(config):\n    tune.report({'x': config['x']})\n"
    )
    script = """
from ray import tune
from ray.tune.examples.more.common import train

tune.run(train, name="old", config={"x": 3})
"""
    (folder / "script.py").write_text(script)
    run(tmp_path, "", "run", str(folder / "script.py"), "--cluster", "local")
    assert [row["x"] for row in last_rows(tmp_path)] == [3]


def test_without_rays_examples_the_import_says_what_to_do(tmp_path: Path) -> None:
    done = run(tmp_path, "from ray.tune.examples.mnist_pytorch import ConvNet\n", "run", "script.py", code=2)
    assert "Copy the file beside your script" in done.stderr
