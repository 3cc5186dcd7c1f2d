"""Optuna scripts as people have them run unmodified: the same trials, and a study that is complete afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hpctune.model.trial import Phase
from hpctune.storage.reader import read_experiment
from tests.support.cli_support import BIN

optuna = pytest.importorskip("optuna")
SCRIPTS = Path(__file__).with_name("optuna_scripts")
PATIENCE_S = 60.0


def _run(script: Path, work: Path, *options: str, args: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    work.mkdir(exist_ok=True)
    command = [BIN, "run", script, "--cluster", "local", "--storage-path", "results", "-v", "0", *options, "--", *args]
    return subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=240, check=False)


def _plain(script: Path, work: Path) -> str:
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script], cwd=work, capture_output=True, text=True, check=True
    )
    return done.stdout


def _script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "search.py"
    path.write_text(textwrap.dedent(text))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "pruned", "multi", "lambdas",
        pytest.param("stored", marks=pytest.mark.nightly),
        pytest.param("hyperband", marks=pytest.mark.nightly),
        pytest.param("trainer", marks=pytest.mark.nightly),
        pytest.param("array_worker", marks=pytest.mark.nightly),
        pytest.param("gradient_boosting", marks=pytest.mark.nightly),
    ],
)  # fmt: skip
def test_one_after_another_the_trials_are_those_of_optuna_itself(name: str, tmp_path: Path) -> None:
    script = SCRIPTS / f"{name}.py"
    done = _run(script, tmp_path / "ours", "--max-concurrent", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == _plain(script, tmp_path / "plain")


def test_a_grid_has_the_same_points_in_any_order(tmp_path: Path) -> None:
    done = _run(SCRIPTS / "grid.py", tmp_path / "ours", "--name", "grid")
    assert done.returncode == 0, done.stderr
    assert "as many trials at a time as there is room for" in done.stderr
    assert done.stdout == _plain(SCRIPTS / "grid.py", tmp_path / "plain")
    shown = subprocess.run([BIN, "best", "ours/results/grid"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "value = 10 (last" in shown.stdout
    assert "  x = 0" in shown.stdout


SLOW = """
    import os, sys, time
    from pathlib import Path
    import optuna

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        with open("runs.txt", "a") as file:
            print(trial.number, x, flush=True, file=file)
        marker = Path(f"preempted-{trial.number}")
        if trial.number == 1 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), 15)  # it leaves at its next report
        trial.report(x, 0)
        while trial.number >= 2 and not Path("go").exists():
            time.sleep(0.05)
        trial.set_user_attr("seen", len(trial.study.get_trials(states=[optuna.trial.TrialState.COMPLETE])))
        return x

    study = optuna.create_study(study_name="kept", storage="sqlite:///study.db", load_if_exists=True)
    study.optimize(objective, n_trials=5, n_jobs=3)
    print(len(study.trials), all(t.state.name == "COMPLETE" for t in study.trials), study.best_value)
"""


def test_a_killed_driver_and_a_preempted_trial_lose_nothing(tmp_path: Path) -> None:
    script = _script(tmp_path, SLOW)
    command = [BIN, "run", script, "--cluster", "local", "--storage-path", "results", "--name", "slow", "-v", "0"]
    driver = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    root = tmp_path / "results" / "slow"

    def under_way() -> bool:
        if not (tmp_path / "preempted-1").exists():
            return False
        view = read_experiment(root)
        return view.state.phases[Phase.TERMINATED] >= 1 and view.state.phases[Phase.RUNNING] >= 1

    try:
        _wait(under_way)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        (tmp_path / "go").touch()  # so that the trials end, whatever happens here
    done = subprocess.run(
        [*command, "--resume"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 True"), done.stdout + done.stderr
    runs = [line.split() for line in (tmp_path / "runs.txt").read_text().splitlines()]
    assert len({x for number, x in runs if number == "1"}) == 1
    assert len([number for number, _ in runs if number == "1"]) == 2
    stored = optuna.load_study(study_name="kept", storage=f"sqlite:///{tmp_path}/study.db").trials
    assert [trial.state.name for trial in stored] == ["COMPLETE"] * 5
    assert {str(trial.params["x"]) for trial in stored} == {x for _, x in runs}
    assert max(trial.user_attrs["seen"] for trial in stored) >= 2


def test_an_experiment_goes_on_without_its_script(tmp_path: Path) -> None:
    script = _script(tmp_path, SLOW)
    (tmp_path / "go").touch()
    (tmp_path / "preempted-1").touch()
    done = _run(script, tmp_path, "--name", "again", "--num-samples", "2")
    assert done.returncode == 0, done.stderr
    script.unlink()
    more = subprocess.run(
        [BIN, "resume", "results/again", "--num-samples", "4", "-v", "0"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert more.returncode == 0, more.stderr
    stored = optuna.load_study(study_name="kept", storage=f"sqlite:///{tmp_path}/study.db").trials
    assert [trial.state.name for trial in stored] == ["COMPLETE"] * 4
    assert len({trial.params["x"] for trial in stored}) == 4


def test_an_error_that_is_not_caught_ends_the_search_and_is_raised(tmp_path: Path) -> None:
    script = _script(
        tmp_path,
        """
        import os
        import optuna

        def objective(trial):
            x = trial.suggest_float("x", 0, 1)
            if trial.number == 1 and not os.path.exists("mended"):
                raise RuntimeError("no such layer")
            return x

        study = optuna.create_study(study_name="a", storage="sqlite:///study.db", load_if_exists=True)
        study.optimize(objective, n_trials=4)
        print("reached", len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])))
        """,
    )
    done = _run(script, tmp_path, "--name", "failing", "--max-concurrent", "1")
    assert done.returncode != 0
    assert "no such layer" in done.stderr
    assert "reached" not in done.stdout
    view = read_experiment(tmp_path / "results" / "failing")
    assert len(view.state.trials) == 2
    (tmp_path / "mended").touch()
    again = _run(script, tmp_path, "--name", "failing", "--max-concurrent", "1", "--resume", "AUTO+ERRORED")
    assert again.returncode == 0, again.stderr
    assert again.stdout == "reached 4\n"


def test_why_a_trial_has_no_value_is_said(tmp_path: Path) -> None:
    script = _script(
        tmp_path,
        """
        import optuna

        def objective(trial):
            trial.suggest_float("x", 0, 1)
            if trial.number == 0:
                raise ValueError("no such layer")
            return float("nan")

        study = optuna.create_study()
        study.optimize(objective, n_trials=2, catch=(ValueError,))
        print([trial.state.name for trial in study.trials])
        """,
    )
    done = _run(script, tmp_path, "--name", "caught")
    assert (done.returncode, done.stdout) == (0, "['FAIL', 'FAIL']\n"), done.stderr
    assert "_00000 has no value: ValueError: no such layer" in done.stderr
    assert "_00001 has no value: the objective returned nan" in done.stderr
    printed = [path.read_text() for path in sorted((tmp_path / "results" / "caught").glob("*/stderr"))]
    assert 'raise ValueError("no such layer")' in printed[0]


def test_a_dry_run_shows_the_first_trial_and_writes_nothing(tmp_path: Path) -> None:
    done = _run(SCRIPTS / "pruned.py", tmp_path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "Trials:     6" in done.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import optuna\nstudy = optuna.create_study()\ntrial = study.ask()\nstudy.tell(trial, 1.0)\n", "study.ask()"),
        (
            "import optuna\ndef f(t): return 1.0\noptuna.create_study().optimize(f, n_trials=-3)\n",
            "n_trials must be a whole number",
        ),
    ],
)
def test_what_cannot_run_is_refused(text: str, words: str, tmp_path: Path) -> None:
    script = tmp_path / "loop.py"
    script.write_text(text)
    done = _run(script, tmp_path)
    assert done.returncode != 0
    assert words in done.stderr


def test_what_an_objective_cannot_do(tmp_path: Path) -> None:
    done = _run(SCRIPTS / "grid.py", tmp_path, "--set", "x=1")
    assert done.returncode != 0
    assert "chooses its parameters itself" in done.stderr
    assert not list(tmp_path.glob("**/experiment.json"))


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.1)
