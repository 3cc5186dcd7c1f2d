"""A package that adds a cluster, a searcher, a scheduler and a logger is installed, and used by the names it adds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "plugin"
SCRIPT = """
import hpctune as tune


def train(config):
    for i in range(1, 10):
        tune.report(loss=config["x"] if i > 1 else 9.0)


analysis = tune.run(train, name="n", config={"x": tune.uniform(0.0, 8.0)}, num_samples=3, metric="loss", mode="min",
                    verbose=0, cluster={"name": "shell", "slots": 2}, search_alg="halton", scheduler="patience",
                    callbacks=["lines"])
print([trial.config["x"] for trial in analysis.trials], {len(rows) for rows in analysis.trial_dataframes.values()})
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package was installed."""
    copy = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("plugin") / "source")
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, copy], check=True)
    return target


def run(site: Path, place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": f"{site}:{os.environ.get('PYTHONPATH', '')}", "TUNE_RESULT_DIR": str(place)}
    return subprocess.run(command, capture_output=True, text=True, env=environ, cwd=place, timeout=120, check=False)


def test_everything_it_adds_works_by_name(site: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run(site, tmp_path, sys.executable, "script.py")
    assert done.stdout == "[4.0, 2.0, 6.0] {5}\n", done.stderr
    lines = sorted(path.read_text() for path in tmp_path.glob("n/*/lines.txt"))
    assert lines[0].splitlines()[:2] == ["1 9.0", "2 2.0"]
    again = run(site, tmp_path, "hpctune", "resume", "n", "--num-samples", "4")
    assert again.returncode == 0, again.stderr
    assert len(list(tmp_path.glob("n/*/lines.txt"))) == 4, "cluster, searcher and logger are those that were stored"


def test_the_command_line_knows_its_cluster(site: Path, tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(
        "import hpctune as tune\n\n\ndef train(config):\n    tune.report(loss=1.0)\n\n\n"
        "tuner = tune.Tuner(train, run_config=tune.RunConfig(name='c'))\n"
    )
    done = run(site, tmp_path, "hpctune", "run", "config.py", "--cluster", "shell")
    assert done.returncode == 0, done.stderr
    assert '"shell"' in (tmp_path / "c" / "experiment.json").read_text()


def test_names_that_nobody_adds(site: Path, tmp_path: Path) -> None:
    for argument, words in (
        ('cluster="pbs"', "'pbs' is not a valid cluster. Valid are: auto, slurm, local, ssh, debug, shell."),
        ('search_alg="annealing"', '"halton"'),
        ('scheduler="none"', "patience"),
        ('callbacks=["wandb"]', "There is no logger 'wandb'. Valid names: lines."),
        ('cluster={"name": "shell", "cores": 3}', "does not take these options: got an unexpected keyword"),
        ('cluster={"name": "shell", "slots": object()}', "must be JSON"),
        ('cluster={"name": "local"}', "A dict as cluster= is for plug-ins"),
    ):
        call = f"hpctune.run(lambda config: 0, name='x', {argument})"
        code = f"import hpctune\ntry:\n    {call}\nexcept ValueError as error:\n    print(error)"
        done = run(site, tmp_path, sys.executable, "-c", code)
        assert words in done.stdout, done.stderr
    assert not (tmp_path / "x").exists()


def test_an_experiment_whose_plug_in_is_gone(site: Path, tmp_path: Path) -> None:
    own = shutil.copytree(site, tmp_path / "site")
    (tmp_path / "script.py").write_text(SCRIPT)
    assert run(own, tmp_path, sys.executable, "script.py").returncode == 0
    shutil.rmtree(own)
    done = run(own, tmp_path, "hpctune", "resume", "n", "--num-samples", "4")
    assert done.returncode != 0
    assert "'shell': a cluster object of its own, or that of a plug-in that is not installed here" in done.stderr
