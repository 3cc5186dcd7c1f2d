"""A finished experiment with everything that one may have, its copies, and what makes two of them the same."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from hpctune.analysis import ExperimentAnalysis
from hpctune.cli.main import cli
from hpctune.storage.reader import read_experiment

SCRIPT = """
import os
import pickle
import hpctune as tune

def train(config):
    for i in range(1, 6):
        with tune.checkpoint_dir(i) as directory:
            with open(os.path.join(directory, "step"), "w") as file:
                file.write(str(i))
        tune.report(loss=config["x"] / i, seen={"early": 1} if i < 3 else {"early": 1, "late": i}, curve=[i, 2.0 * i])
        if config["x"] == 3 and i == 4:
            raise ValueError("bad luck")

if __name__ == "__main__":
    tune.run(
        train, config={"x": tune.grid_search([1, 2, 3, 4]), "shape": [1, 2], "kind": ("a", "b")}, metric="loss",
        mode="min", name="exp", max_failures=1, keep_checkpoints_num=2, raise_on_failed_trial=False, verbose=0,
        cluster=tune.LocalOptions(cpus=2),
    )
"""
_OF_DRIVERS = ("lease.json", "driver.lock", "driver.json", "inbox.lock")


def finished_experiment(place: Path, script: str = SCRIPT) -> Path:
    """Made by a real run; without a ``script``: four trials, one of which failed twice."""
    (place / "search.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "search.py"],
        cwd=place,
        env={**os.environ, "TUNE_RESULT_DIR": str(place)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place / "exp"


def fsck(root: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of ``hpctune fsck``."""
    result = CliRunner().invoke(cli, ["fsck", str(root), "--json", *options], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    (report,) = json.loads(result.output)
    assert report["code"] == result.return_value
    return int(result.return_value), report


def kinds(report: dict[str, Any], part: str = "repaired") -> set[str]:
    return {finding["kind"] for finding in report[part]}


def tree(root: Path) -> dict[str, object]:
    """Every file but those of whoever drives, and directory, with what it holds; for a pickled config its value: the
    same one can be pickled in several ways."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        where = path.relative_to(root)
        if where.parts[0] not in (*_OF_DRIVERS, "quarantine"):
            found[str(where)] = path.read_bytes() if path.is_file() else None
            if path.name == "params.pkl":
                found[str(where)] = _unpickled(path)
    return found


def _unpickled(path: Path) -> object:
    with path.open("rb") as file:
        return pickle.load(file), file.read()


def meaning(root: Path) -> tuple[Any, Any]:
    """What analysis and a driver make of it."""
    table = ExperimentAnalysis(root).dataframe().drop(columns=["logdir"], errors="ignore")
    state = read_experiment(root, peek=False).state
    trials = {
        t.trial_id: (t.phase, t.results, t.failures, t.finalized, [c.name for c in t.checkpoints], dict(t.config))
        for t in state.trials.values()
    }
    rows = {t.trial_id: list(r.items()) for t, r in zip(state.trials.values(), table.to_dict("records"), strict=True)}
    return trials, repr(rows)


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


def resume(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Go on with it, by the real program."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "hpctune"), "resume", str(root), "-v", "0", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
