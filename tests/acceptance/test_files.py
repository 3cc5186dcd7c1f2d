"""`hpctune run` on files that are not Python, `convert` and `init`, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TRAIN = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--width", type=int, default=1)
args = parser.parse_args()
for epoch in range(3):
    print(f"epoch {epoch}: val loss: {args.lr * args.width / (epoch + 1):.4f}", flush=True)
"""
SCRIPT = f"""#!/bin/bash
#SBATCH --job-name=mine --time=10
#SBATCH --output=logs/%j.out
LR=0.1
{sys.executable} train.py --lr $LR | tee train.log
"""
SEARCH = f"""
command: {sys.executable} train.py
parameters:
  lr: [0.1, 0.2]
  width: 2
grid: true
metric: val_loss
cluster: local
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "job.sbatch").write_text(SCRIPT)
    (tmp_path / "search.yaml").write_text(SEARCH)
    return tmp_path


def hpctune(directory: Path, *arguments: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    command = ["hpctune", *arguments]
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=120, check=False, input=typed
    )  # fmt: skip


def results(directory: Path) -> list[tuple[dict[str, Any], float]]:
    rows = [json.loads(path.read_text().splitlines()[-1]) for path in directory.glob("*/result.json")]
    return sorted(((row["config"], row["val_loss"]) for row in rows), key=str)


def test_a_batch_script_as_it_is(here: Path) -> None:
    options = ("--cluster", "local", "--storage-path", "results")
    words = ("--param", "LR=1,2", "--param", "width=1,3", "--grid", "--metric", "val loss: ([0-9.]+)")
    refused = hpctune(here, "run", "job.sbatch", *options)
    assert (refused.returncode, "nothing to vary" in refused.stderr) == (2, True)
    assert not (here / "results").exists()
    done = hpctune(here, "run", "job.sbatch", "--param", "LR=1,2", "--grid", "--metric", "accuracy", *options)
    assert done.returncode == 1, done.stderr  # a metric of this name is never printed
    done = hpctune(here, "run", "job.sbatch", *words, *options, "--name", "grid")
    assert done.returncode == 0, done.stderr
    assert "hpctune sets itself: --job-name, --output" in done.stderr
    assert "LR = 1,2  ($LR)" in done.stderr
    assert "width = 1,3  (an option of:" in done.stderr
    expected = [({"LR": lr, "width": width}, round(lr * width / 3, 4)) for lr in (1, 2) for width in (1, 3)]
    assert results(here / "results" / "grid") == expected
    (here / "runs.txt").write_text("LR=4 width=1\nLR=5 width=2\n")
    done = hpctune(here, "run", "job.sbatch", "--params", "runs.txt", *words[-2:], *options, "--name", "rows")
    assert done.returncode == 0, done.stderr
    assert [config for config, _ in results(here / "results" / "rows")] == [
        {"LR": 4, "width": 1},
        {"LR": 5, "width": 2},
    ]


def test_a_declared_search_and_the_python_that_it_means(here: Path) -> None:
    done = hpctune(here, "run", "search.yaml", "--storage-path", "results")
    assert done.returncode == 0, done.stderr
    expected = [({"lr": lr, "width": 2}, round(lr * 2 / 3, 4)) for lr in (0.1, 0.2)]
    assert results(here / "results" / "search") == expected
    done = hpctune(here, "convert", "search.yaml", "-o", "search.py")
    assert done.returncode == 0, done.stderr
    assert hpctune(here, "convert", "search.yaml", "-o", "search.py").returncode == 2
    done = hpctune(here, "run", "search.py", "--storage-path", "results", "--name", "python", "--cluster", "local")
    assert done.returncode == 0, done.stderr
    assert results(here / "results" / "python") == expected
    done = hpctune(here, "run", "search.yaml", "--set", "width=3", "--storage-path", "results", "--name", "wide", "-v0")
    assert [config["width"] for config, _ in results(here / "results" / "wide")] == [3, 3], done.stderr


def test_init_asks_or_takes_options(here: Path) -> None:
    program = f"{sys.executable} train.py"
    done = hpctune(here, "init", "new.yaml")
    assert (done.returncode, "no terminal to ask on" in done.stderr) == (2, True)
    words = ("--program", program, "--param", "lr=log:1e-3..1e-1", "--param", "width=1,2", "--metric", "val_loss")
    done = hpctune(here, "init", "new.yaml", *words, "--num-samples", "2", "-p", "local")
    assert done.returncode == 0, done.stderr
    assert hpctune(here, "init", "new.yaml", *words).returncode == 2
    done = hpctune(here, "run", "new.yaml", "--storage-path", "results")
    assert done.returncode == 0, done.stderr
    assert len(results(here / "results" / "new")) == 2
    words = ("--program", program, "--param", "lr=loguniform(1e-3, 1e-1)", "--param", "width=choice([1, 2])")
    done = hpctune(here, "init", "max.yaml", *words, "--metric", "val_loss", "--mode", "max", "--num-samples", "1")
    assert (done.returncode, "mode: max" in (here / "max.yaml").read_text()) == (0, True), done.stderr
    done = hpctune(here, "run", "max.yaml", "--storage-path", "results", "--cluster", "local")
    assert done.returncode == 0, done.stderr
    ((config, _),) = results(here / "results" / "max")
    assert 1e-3 <= config["lr"] <= 1e-1
    assert config["width"] in (1, 2)
    bad = hpctune(here, "init", "bad.yaml", "--program", program, "--param", "lr=1..x")
    assert (bad.returncode, (here / "bad.yaml").exists()) == (2, False)
    assert hpctune(here, "init", "--schema").returncode == 0
    assert "parameters" in json.loads((here / "hpctune.schema.json").read_text())["properties"]


def test_init_in_a_terminal(here: Path) -> None:
    import pty

    main, other = pty.openpty()
    done = subprocess.Popen(
        ["hpctune", "init", "asked.yaml"], cwd=here, stdin=other, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    with os.fdopen(main, "wb", buffering=0) as keyboard:
        keyboard.write(f"{sys.executable} train.py\nlr=1..x\nlr=1e-3..1e-1\n\nval_loss\nn\n3\nlocal\n1h\n".encode())
        said, _ = done.communicate(timeout=60)
    assert done.returncode == 0, said
    assert "is not a range" in said
    text = (here / "asked.yaml").read_text()
    assert "lr: 1e-3..1e-1" in text
    assert "metric: val_loss\nmode: min\nnum_samples: 3" in text


def test_a_loop_in_python_that_submits(here: Path) -> None:
    (here / "submit.py").write_text(
        "import subprocess\nfor lr in (0.1, 0.2):\n"
        "    subprocess.run(['sbatch', '--time=10', 'job.sbatch', f'--lr={lr}'], check=True)\n"
    )
    (here / "job.sbatch").write_text(f'#!/bin/bash\n{sys.executable} train.py "$@"\n')
    done = hpctune(here, "run", "submit.py", "--metric", "val_loss", "--cluster", "local", "--storage-path", "results")
    assert done.returncode == 0, done.stderr
    assert results(here / "results" / "submit") == [({"lr": lr}, round(lr / 3, 4)) for lr in (0.1, 0.2)]
