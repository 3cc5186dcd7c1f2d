"""Programs as people have them: started where the user stands, run in the trial's directory."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

CONFIG = """
import hpctune as tune
tuner = tune.Tuner(
    tune.Command(COMMAND), param_space={"x": tune.grid_search([1, 2])},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
)
"""
TRAIN = """
import os, sys, helper
open("own_output.txt", "w").write("x")
print("hpctune: loss=" + sys.argv[1], "start_is_here=" + str(int(os.environ["HPCTUNE_START_DIR"] != os.getcwd())))
"""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["hpctune", "run", *arguments, "--cluster", "local", "--storage-path", "results", "--name", "exp"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)


def losses(directory: Path) -> list[float]:
    files = (directory / "results" / "exp").glob("*/result.json")
    return sorted(json.loads(line)["loss"] for file in files for line in file.read_text().splitlines())


@pytest.mark.parametrize("command", ["python train.py {x}", ["python", "./train.py", "{x}"], "python -m train {x}"])
def test_the_script_beside_the_user_runs_in_the_trials_directory(tmp_path: Path, command: str | list[str]) -> None:
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "config.py").write_text(CONFIG.replace("COMMAND", repr(command)))
    done = run(tmp_path, "config.py")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path) == [1, 2]
    assert len(list((tmp_path / "results" / "exp").glob("train_*/own_output.txt"))) == 2
    assert not (tmp_path / "own_output.txt").exists()


def test_a_script_that_is_nowhere_is_refused_before_there_is_an_experiment(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(CONFIG.replace("COMMAND", "'python train.py {x}'"))
    done = run(tmp_path, "config.py")
    assert done.returncode == 2
    assert f"names train.py, which is not in {tmp_path}" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_file_that_the_program_misses_is_told_with_where_it_ran(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("open('data.csv')")
    (tmp_path / "data.csv").write_text("1")
    (tmp_path / "config.py").write_text(CONFIG.replace("COMMAND", "'python train.py {x}'"))
    done = run(tmp_path, "config.py")
    assert done.returncode == 1
    error = next((tmp_path / "results" / "exp").glob("*/error.txt")).read_text()
    assert "No such file or directory: 'data.csv'" in error
    assert f"It ran in {tmp_path}/results/exp/train_" in error
    assert "{start_dir}/NAME or Command(cwd=...)" in error


@pytest.mark.parametrize("cwd", ["src", "ABSOLUTE"])
def test_a_working_directory_of_ones_own(tmp_path: Path, cwd: str) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("open('data.csv'); print('hpctune: loss=3')")
    (tmp_path / "src" / "data.csv").write_text("")
    where = cwd.replace("ABSOLUTE", str(tmp_path / "src"))
    (tmp_path / "config.py").write_text(CONFIG.replace("COMMAND", f"'python train.py {{x}}', cwd={where!r}"))
    done = run(tmp_path, "config.py")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path) == [3, 3]


PLAIN = "import argparse\nopen('ran', 'w')\n"


def test_a_plain_script_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PLAIN)
    done = run(tmp_path, "train.py")
    assert done.returncode == 2
    assert "train.py defines no search" in done.stderr
    assert "hpctune sweep 'python train.py' lr=" in done.stderr
    assert 'tune.Command("python train.py --lr {lr}")' in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "lines",
    [
        {"script.py": "import hpctune"},
        {"script.py": "from mine.search import build\nbuild()", "mine/search.py": "def build():\n    import hpctune"},
        {"script.py": "from importlib import import_module\nimport_module('m')", "m/__init__.py": "import hpctune"},
        {"script.py": "from mine import tuner", "mine.py": "tuner = 3"},
        {"script.py": "from mine import *", "mine.py": ""},
        {"script.py": "if True:\n    experiment = {}"},
    ],
)  # fmt: skip
def test_a_script_that_may_define_a_search_is_run(tmp_path: Path, lines: dict[str, str]) -> None:
    for name, text in lines.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + ("\nopen('ran', 'w')" if name == "script.py" else ""))
    done = run(tmp_path, "script.py")
    assert "defines no search" not in done.stderr
    assert (tmp_path / "ran").exists()
