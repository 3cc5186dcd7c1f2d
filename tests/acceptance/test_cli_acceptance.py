"""The command line from end to end: real program, real trials, on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent / "hpctune"
CONFIG = """
import os
import time
import hpctune as tune


def train(config):
    for step in range(1, config["steps"] + 1):
        time.sleep(config["pause_s"])
        print(f"step {step}", flush=True)
        if config["x"] == 2 and not os.path.exists(config["mended"]):
            raise ValueError(f"x={config['x']} is out of luck")
        tune.report({"loss": (config["x"] - 1) ** 2 + 1 / step})


tuner = tune.Tuner(
    train,
    param_space={"x": tune.grid_search([0, 1, 3]), "steps": 3, "pause_s": 0.0, "mended": os.path.abspath("mended")},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a config file, in which everything happens."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPCTUNE_RESULT_DIR", str(tmp_path / "results"))
    (tmp_path / "config.py").write_text(CONFIG)
    return tmp_path


def hpctune(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(BIN), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return hpctune("run", "config.py", "--cluster", "local", "--name", "exp", *arguments, code=code)


def started(*arguments: object) -> subprocess.Popen[str]:
    """A ``run`` in the background; returns when a trial has reported."""
    command = [str(BIN), "run", "config.py", "--cluster", "local", "--name", "exp", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        shown = subprocess.run([str(BIN), "status", "exp", "--json"], capture_output=True, text=True, check=False)
        if shown.returncode == 0 and any(t["iteration"] for t in json.loads(shown.stdout)["running"]):
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    pytest.fail("no trial has reported")


def status() -> dict[str, Any]:
    return json.loads(hpctune("status", "exp", "--json").stdout)  # type: ignore[no-any-return]


def rows() -> list[dict[str, Any]]:
    return json.loads(hpctune("list", "exp", "--json").stdout)  # type: ignore[no-any-return]


SLOW = ("--set", "pause_s=0.5", "--set", "steps=8")


def test_run_and_everything_that_looks(place: Path) -> None:
    run()
    assert status()["state"] == "finished"
    assert status()["counts"]["terminated"] == 3
    assert "best      loss = 0.33333 at iteration 3" in hpctune("status").stdout
    assert [row["config/x"] for row in rows()] == [0, 1, 3]
    assert [line.split()[0] for line in hpctune("list").stdout.splitlines()] == ["name", "exp"]
    listed = hpctune("list", "exp", "--sort", "loss", "--limit", "1", "--columns", "config/x,loss").stdout
    assert listed.splitlines()[1].split() == ["1", "0.33333"]
    (best,) = json.loads(hpctune("best", "exp", "--json").stdout)
    assert (best["config"]["x"], best["iteration"]) == (1, 3)
    assert hpctune("logs", "exp", "0").stdout == "step 1\nstep 2\nstep 3\n"
    assert hpctune("logs", "exp", best["trial_id"], "-f", "-n", "1").stdout == "step 3\n"
    assert "over already" in hpctune("stop", "exp").stdout
    assert "Nothing left to do" in hpctune("resume", "exp").stdout
    again = run()
    assert "held a finished experiment, which is now" in again.stderr
    assert len([row for row in json.loads(hpctune("list", "--json").stdout) if row["name"].startswith("exp")]) == 2


def test_dry_run_changes_nothing(place: Path) -> None:
    shown = run("--dry-run", "--set", "x=7").stdout
    assert "Dry run: nothing is written" in shown
    assert not (place / "results").exists()


def test_set_and_num_samples_go_before_the_file(place: Path) -> None:
    run("--set", "x=5", "--num-samples", "2", "-v", "0")
    assert [row["config/x"] for row in rows()] == [5, 5]
    message = run("--set", "y=5", "--name", "other", code=2).stderr
    assert "The search space has no 'y'" in message


def test_a_resume_takes_another_space(place: Path) -> None:
    run("-v", "0")
    hpctune("resume", "exp", "-v", "0", "--set", 'x={"grid_search": [3, 4, 0, 1]}')
    assert [row["config/x"] for row in rows()] == [0, 1, 3, 4]
    told = hpctune("resume", "exp", "-v", "0", "--set", "x=5").stderr
    assert "4 of 4 trials are not in the search space any more. Their results are kept." in told
    assert [row["config/x"] for row in rows()] == [0, 1, 3, 4, 5]
    assert "--set KEY=VALUE" in hpctune("resume", "exp").stdout
    assert "no 'y'" in hpctune("resume", "exp", "--set", "y=5", code=2).stderr


def test_failed_trials_and_another_try(place: Path) -> None:
    done = run("--set", "x=2", code=1)
    root = place / "results" / "exp"
    assert (
        f"1 of 1 trial failed. See: hpctune status {root}. Try them again: hpctune resume {root} --errored"
        in done.stderr
    )
    assert "ValueError: x=2 is out of luck" in hpctune("status", "exp").stdout
    assert "ValueError: x=2 is out of luck" in hpctune("logs", "exp", "0").stdout
    hpctune("resume", "exp", "--errored", "-v", "0", code=1)
    (place / "mended").touch()
    hpctune("resume", "exp", "--errored", "-v", "0")
    assert [row["status"] for row in rows()] == ["TERMINATED"]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)])
def test_leaving_and_going_on(place: Path, number: signal.Signals) -> None:
    process = started(*SLOW)
    process.send_signal(number)
    shown, _ = process.communicate(timeout=30)
    assert process.returncode == 3, shown
    assert "hpctune resume" in shown
    assert status()["state"] == "left"
    hpctune("resume", "exp", "-v", "0")
    assert [row["training_iteration"] for row in rows()] == [8, 8, 8]
    assert [row["failures"] for row in rows()] == [0, 0, 0]


def test_a_killed_driver_is_noticed_and_replaced(place: Path) -> None:
    process = started(*SLOW)
    process.kill()
    process.communicate()
    assert status()["state"] == "gone"
    assert "hpctune resume" in hpctune("status", "exp").stdout
    hpctune("resume", "exp", "-v", "0")
    assert [row["training_iteration"] for row in rows()] == [8, 8, 8]


def test_two_drivers_are_one_too_many(place: Path) -> None:
    process = started("--set", "pause_s=0.5", "--set", "steps=500")
    message = hpctune("resume", "exp", code=1).stderr
    assert "is being driven already: process" in message
    process.kill()
    process.communicate()
    hpctune("stop", "exp", "--now")


def test_stopping_from_elsewhere(place: Path) -> None:
    process = started("--set", "pause_s=0.5", "--set", "steps=500")
    hpctune("stop", "exp", "0", "--wait")
    assert [row["status"] for row in rows()].count("TERMINATED") == 1
    hpctune("stop", "exp", "--wait")
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert "stopped by hpctune stop" in status()["state_text"]


def test_stopping_without_a_driver(place: Path) -> None:
    process = started("--set", "pause_s=0.5", "--set", "steps=500")
    process.kill()
    process.communicate()
    assert "To cancel now, add --now" in hpctune("stop", "exp").stdout
    assert "Cancelled" in hpctune("stop", "exp", "--now").stdout
    hpctune("resume", "exp", "-v", "0")
    assert {row["status"] for row in rows()} == {"TERMINATED"}


def test_a_script_that_runs_itself_is_run_once(place: Path) -> None:
    (place / "helper.py").write_text("def square(x):\n    return x * x\n")
    (place / "script.py").write_text(
        "import sys\nimport hpctune as tune\nfrom helper import square\n\n\n"
        "def train(config):\n    tune.report({'loss': square(config['x'])})\n\n\n"
        "if __name__ == '__main__':\n"
        "    space = {'x': int(sys.argv[1])}\n"
        "    found = tune.run(train, name='exp', config=space, metric='loss', mode='min', verbose=0)\n"
        "    print('best', found.best_config)\n"
    )
    done = hpctune("run", "script.py", "--cluster", "local", "--", "4")
    assert done.stdout.splitlines()[-1] == "best {'x': 4}"
    assert [row["loss"] for row in rows()] == [16]
    assert [p.name for p in (place / "results").iterdir()] == ["exp"]


def test_a_script_that_swallows_failures_still_fails(place: Path) -> None:
    (place / "script.py").write_text(
        "import hpctune as tune\n\n\ndef train(config):\n    raise ValueError('no')\n\n\n"
        "tune.run(train, name='exp', raise_on_failed_trial=False, verbose=0)\nprint('went on')\n"
    )
    done = hpctune("run", "script.py", "--cluster", "local", code=1)
    assert "went on" in done.stdout
    assert "1 of 1 trial failed" in done.stderr


@pytest.mark.parametrize(
    "experiment", ["{'run': train, 'num_samples': 2}", "{'exp': {'run': train, 'num_samples': 2}}", None]
)
def test_an_experiment_instead_of_a_tuner(place: Path, experiment: str | None) -> None:
    value = experiment or "tune.Experiment('exp', train, num_samples=2)"
    (place / "exp.py").write_text(
        "import hpctune as tune\n\n\ndef train(config):\n    tune.report({'loss': 1})\n\n\n" + f"experiment = {value}\n"
    )
    hpctune("run", "exp.py", "--cluster", "local", "-v", "0")
    assert len(rows()) == 2


def test_any_program_reports(place: Path) -> None:
    script = "\n".join(
        [
            "set -e",
            "mkdir -p out",
            "echo 1 > out/model",
            f"{BIN} report loss=0.5 eval/acc=0.25 name=first --checkpoint out",
            "echo 2 > out/model",
            f"{BIN} report loss=0.25 eval/acc=0.5 --checkpoint out",
        ]
    )
    (place / "config.py").write_text(
        "import subprocess\nimport hpctune as tune\n\n\n"
        f"def train(config):\n    subprocess.run(['bash', '-c', {script!r}], check=True)\n\n\n"
        "tuner = tune.Tuner(train, tune_config=tune.TuneConfig(metric='loss', mode='min'))\n"
    )
    run()
    (row,) = rows()
    assert (row["loss"], row["eval/acc"], row["training_iteration"]) == (0.25, 0.5, 2)
    (best,) = json.loads(hpctune("best", "exp", "--json").stdout)
    assert (Path(best["checkpoint"]) / "model").read_text() == "2\n"


def test_report_outside_of_a_trial(place: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HPCTUNE_")}
    done = subprocess.run([str(BIN), "report", "loss=1"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("hpctune: error: ")
