"""``hpctune sweep``: programs as they are, from one command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ARGPARSE = """
import argparse
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", "--lr", type=float, required=True)
parser.add_argument("--opt", default="sgd")
parser.add_argument("--amp", action="store_true")
parser.add_argument("--cache", action=argparse.BooleanOptionalAction)
args = parser.parse_args()
print("data:", Path("data.txt").read_text())
for epoch in range(1, 5):
    value = args.learning_rate * epoch
    print(f"epoch {epoch}: val_acc: {value:.3f}% amp={int(args.amp)} opt={args.opt} cache={args.cache}")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(ARGPARSE)
    (tmp_path / "data.txt").write_text("here")
    return tmp_path


def sweep(place: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = ["hpctune", "sweep", *arguments]
    if "--cluster" not in arguments:
        command += ["--cluster", "local"]
    done = subprocess.run(
        [*command, "--storage-path", "results", "--name", "exp"],
        cwd=place, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def rows(place: Path) -> list[dict[str, Any]]:
    files = sorted((place / "results" / "exp").glob("*/result.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_program_with_a_parser_in_its_own_directory(place: Path) -> None:
    done = sweep(
        place, "python train.py", "lr=0.1,0.2", "amp=true,false", "cache=true", "opt=text:ad am", "--metric", "val_acc",
        "--max", "--grid",
    )  # fmt: skip
    assert "Metric:    val_acc (max), found in lines such as 'val_acc=0.9'" in done.stderr
    found = rows(place)
    assert len(found) == 16
    for row in found:
        assert row["val_acc"] == pytest.approx(row["config"]["lr"] * row["epoch"], abs=1e-3)
        assert row["amp"] == row["config"]["amp"]
    out = next((place / "results" / "exp").glob("*/stdout")).read_text()
    assert "data: here" in out
    assert "opt=ad am cache=True" in out


def test_samples_early_stopping_and_the_best(place: Path) -> None:
    sweep(
        place, "python train.py", "learning_rate=log:1e-4..1e-1", "--metric", "val_acc", "--max", "--num-samples", "6",
        "--scheduler", "asha", "--max-t", "4", "--seed", "3",
    )  # fmt: skip
    found = rows(place)
    rates = {row["trial_id"]: row["config"]["learning_rate"] for row in found}
    assert len(rates) == 6
    assert all(1e-4 <= rate <= 1e-1 for rate in rates.values())
    best = subprocess.run(["hpctune", "best", "results/exp", "--json"], cwd=place, stdout=-1, text=True, check=True)
    assert json.loads(best.stdout)[0]["config"]["learning_rate"] == max(rates.values())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.txt", "# two trials\n--lr 0.1 --opt adam\n--lr=0.2 --opt sgd --amp\n"),
        ("p.csv", "lr,opt,amp\n0.1,adam,false\n0.2,sgd,true\n"),
        ("p.json", '[{"lr": 0.1, "opt": "adam", "amp": false}, {"lr": 0.2, "opt": "sgd", "amp": true}]'),
        ("p.jsonl", '{"lr": 0.1, "opt": "adam", "amp": false}\n{"lr": 0.2, "opt": "sgd", "amp": true}\n'),
    ],
)
def test_a_file_with_a_trial_in_each_line(place: Path, name: str, text: str) -> None:
    (place / name).write_text(text)
    sweep(place, "python train.py", "--from", name, "--metric", "val_acc", "--max")
    last = {(row["config"]["lr"], row["config"]["opt"], row["config"]["amp"], row["amp"]) for row in rows(place)}
    assert last == {(0.1, "adam", False, 0), (0.2, "sgd", True, 1)}


@pytest.mark.parametrize(
    ("style", "word"),
    [("space", "--x 1"), ("equals", "--x=1"), ("hydra", "x=1"), ("env", "")],
)
def test_styles(place: Path, style: str, word: str) -> None:
    (place / "show.sh").write_text('echo "got: $* X=$X"; echo "loss=1"\n')
    sweep(place, "sh show.sh", "x=1", "--style", style, "--metric", "loss")
    out = next((place / "results" / "exp").glob("*/stdout")).read_text()
    assert f"got: {word} X={'1' if style == 'env' else ''}" in out


def test_fields_in_the_command_and_a_pattern_of_ones_own(place: Path) -> None:
    sweep(place, "echo result is {x} units", "x=3,4", "--grid", "--parse", "result is ([0-9]+)")
    assert sorted(row["metric"] for row in rows(place)) == [3, 4]


def test_hydra_is_recognized(place: Path) -> None:
    (place / "app.py").write_text("import hydra\n@hydra.main(config_path=None)\ndef main(cfg): ...\n")
    done = sweep(place, "python app.py", "model.lr=0.1,0.2", "--dry-run")
    assert "Program:   python app.py model.lr={model.lr}" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("python train.py", "lrr=1,2"), "no option for 'lrr'. Did you mean 'lr'?"),
        (("python train.py", "amp=1,2"), "--amp takes no value in the program"),
        (("python train.py", "lr=2..1"), "the lower end must be below"),
        (("python train.py", "lr"), "'lr' is not NAME=DOMAIN"),
        (("python train.py", "lr=1", "lr=2"), "'lr' is given twice"),
        (("lr=1",), "No program was named"),
        (("python train.py", "lr=0.1..1", "--grid"), "has no grid. Say how many values"),
        (("python train.py", "lr=1", "--scheduler", "asha"), "need a metric"),
        (("python train.py", "--from", "nowhere.txt"), "--from nowhere.txt"),
        (("python nowhere.py", "lr=1"), "names nowhere.py, which is not in"),
        (("--like", "nowhere.sh", "lr=1"), "--like nowhere.sh"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(place: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in sweep(place, *arguments, code=2).stderr
    assert not (place / "results").exists()
