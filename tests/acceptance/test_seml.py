"""`hpctune run` on files of SEML, as a user types it: Sacred is the real one, there is no database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sacred")

TRAIN = """
import os, time
from sacred import Experiment
from sacred.observers import FileStorageObserver
from helper import score

ex = Experiment("mine", save_git_info=False)
ex.observers.append(FileStorageObserver("runs"))

@ex.config
def config():
    optim = {"lr": 0.1, "name": "sgd"}
    kind = "plain"

@ex.named_config
def fancy():
    kind = "fancy"

@ex.automain
def main(optim, width, kind, seed, _run, layers=()):
    with open("begun.txt", "a") as file:
        file.write(f"{optim['lr']} {seed}\\n")
    for epoch in range(4):
        _run.log_scalar("loss", score(optim["lr"], width) / (epoch + 1), epoch)
        ex.log_scalar("width", width, epoch)
        time.sleep(float(os.environ.get("PAUSE", 0)))
    print("layers", list(layers), "optimizer", optim["name"])
    return {"acc": 1 - optim["lr"], "fancy": kind == "fancy", "curve": [1, 2]}
"""
HELPER = "def score(lr, width):\n    return lr * width\n"
FILE = """
seml: {executable: bin/train.py, project_root_dir: .., name: mine}
slurm: {sbatch_options: {mem: 1G, output: x}}
fixed: {optim.name: "Adam's"}
grid: {optim.lr: {type: choice, options: [0.1, 0.2]}}
narrow: {fixed: {width: 1, layers: [16, 8]}}
wide: {fixed: {width: 3}, grid: {+how: {type: choice, options: [fancy]}}}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, text in {"bin/train.py": TRAIN, "helper.py": HELPER, "conf/experiment.yaml": FILE}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def words(*arguments: str) -> list[str]:
    more = ["--cluster", "local", "--storage-path", "results", "--workers", "2", "-v", "1"]
    return ["hpctune", "run", "conf/experiment.yaml", *arguments, *more]


def run(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words(*arguments), cwd=here, capture_output=True, text=True, timeout=120, check=False)


def rows(here: Path, name: str = "mine") -> list[list[dict[str, Any]]]:
    files = sorted((here / "results" / name).glob("*/result.json"))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in files]


def test_every_configuration_is_a_trial(here: Path) -> None:
    done = run(here, "--metric", "loss")
    assert done.returncode == 0, done.stderr
    assert "Trials:    4 configurations, of the file" in done.stderr
    assert "hpctune sets itself: --output" in done.stderr
    found = rows(here)
    assert len(found) == 4
    for trial in found:
        config = trial[0]["config"]
        assert ("layers" in config, "+how" in config) == ((True, False) if config["width"] == 1 else (False, True))
        product = config["optim.lr"] * config["width"]
        assert [row["loss"] for row in trial] == pytest.approx([product / n for n in (1, 2, 3, 4, 4)])
        assert [row.get("width") for row in trial] == [*[config["width"]] * 4, None]
        assert [row.get("acc") for row in trial] == [*[None] * 4, 1 - config["optim.lr"]]
        assert trial[-1]["fancy"] == (config["width"] == 3)
    out = [path.read_text() for path in (here / "results" / "mine").glob("*/stdout")]
    assert sum("layers [16, 8] optimizer Adam's" in text for text in out) == 2
    assert len(list((here / "runs").glob("[0-9]*"))) == 4  # the script's own observer
    assert len({line.split()[1] for line in (here / "begun.txt").read_text().splitlines()}) == 4


@pytest.mark.nightly
def test_a_value_of_the_command_line_and_what_is_returned(here: Path) -> None:
    done = run(here, "--metric", "acc", "--max", "--set", "optim.lr=0.5")
    assert done.returncode == 0, done.stderr
    assert [[row["acc"] for row in trial] for trial in rows(here)] == [[0.5], [0.5]]
    best = subprocess.run(["hpctune", "best", "results/mine", "--json"], cwd=here, stdout=-1, text=True, check=True)
    assert json.loads(best.stdout)[0]["config"]["optim.lr"] == 0.5


@pytest.mark.nightly
def test_a_trial_that_begins_again_has_its_seed(here: Path) -> None:
    driver = subprocess.Popen(
        words("--metric", "loss"), cwd=here, env={**os.environ, "PAUSE": "0.2"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    begun, deadline = here / "begun.txt", time.monotonic() + 60
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    done = subprocess.run(["hpctune", "resume", "results/mine"], cwd=here, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = [row["config"] for _, *_, row in rows(here)]
    assert len(found) == 4
    assert len({json.dumps(config, sort_keys=True) for config in found}) == 4
    assert len({line.split()[1] for line in begun.read_text().splitlines()}) == 4


@pytest.mark.nightly
def test_a_search_and_a_conversion(here: Path) -> None:
    (here / "conf" / "experiment.yaml").write_text(
        "seml: {executable: bin/train.py, project_root_dir: ..}\nfixed: {width: 2}\n"
        "grid: {optim.lr: {type: loguniform, min: 0.001, max: 0.1, num: 3}}\n"
    )
    options = ("--search-alg", "tpe", "--num-samples", "3", "--metric", "loss", "--scheduler", "asha", "--max-t", "4")
    done = run(here, *options)
    assert done.returncode == 0, done.stderr
    rates = [trial[0]["config"]["optim.lr"] for trial in rows(here, "experiment")]
    assert len(set(rates)) == 3
    assert all(0.001 <= rate <= 0.1 for rate in rates)
    made = subprocess.run(
        ["hpctune", "convert", "conf/experiment.yaml", "--metric", "loss", "-o", "search.py"], cwd=here, check=True
    )
    assert made.returncode == 0
    again = subprocess.run(
        ["hpctune", "run", "search.py", "--cluster", "local", "--storage-path", "results", "--name", "py", "-v", "0"],
        cwd=here, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert [trial[0]["config"]["optim.lr"] for trial in rows(here, "py")] == pytest.approx([0.001, 0.01, 0.1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--style", "env"), "leave --style and --grid out"),
        (("--search-alg", "tpe", "--metric", "loss"), "has the sub-configurations narrow, wide"),
        (("--scheduler", "asha"), "need a metric"),
        (("--param", "a=1"), "--param and --params are for batch scripts"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(here: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(here, *arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (here / "results").exists()


@pytest.mark.nightly
def test_a_parameter_that_the_experiment_does_not_have(here: Path) -> None:
    path = here / "conf" / "experiment.yaml"
    path.write_text(path.read_text().replace("optim.name", "optimm.name"))
    done = run(here, "--metric", "loss")
    assert done.returncode == 1
    assert "optimm" in "".join(file.read_text() for file in (here / "results" / "mine").glob("*/stderr"))
