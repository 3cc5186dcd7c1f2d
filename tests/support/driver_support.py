"""Real driver processes on an experiment of their own, and what must hold of it in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hpctune.errors import TuneError
from hpctune.model.trial import Phase
from hpctune.storage.reader import ExperimentView, read_experiment

FAULT_POINTS = Path(__file__).with_name("faultpoints.py")
PATIENCE_S = 90.0
ITERATIONS = 6

SCRIPT = """
import fcntl, os, sys, time
from pathlib import Path
import hpctune as tune

def climb(config):
    side = Path({side!r})
    trial = tune.get_trial_id()
    lock = os.open(side / trial, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        (side / f"twice-{{trial}}-{{os.getpid()}}").touch()
    checkpoint, done = tune.get_checkpoint(), 0
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            done = int((Path(directory) / "i").read_text())
    for i in range(done + 1, {iterations} + 1):
        while (side / "hold").exists() or (side / f"hold{{trial[-6:]}}").exists():
            time.sleep(0.02)
        time.sleep({pause_s})
        with tune.checkpoint_dir(step=i) as directory:
            (Path(directory) / "i").write_text(str(i))
        tune.report(i=i, x=config["x"])

class Blocks(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        if (Path({side!r}) / "block").exists():
            (Path({side!r}) / "blocked").touch()
            time.sleep(600)

if __name__ == "__main__":
    tune.run(
        climb, name="exp", config={{"x": tune.uniform(0, 1)}}, num_samples={trials}, resume="AUTO", verbose=0,
        cluster=tune.LocalOptions(cpus=2), keep_checkpoints_num=2, callbacks=[Blocks()], {more}
    )
    print("finished")
"""


class Search:
    """One experiment in ``results``, and its drivers.

    ``side``: where trials leave notes, and find orders: all wait if there is a file ``hold``, and trial 2 if there is a
    file ``hold_00002``.
    """

    def __init__(
        self, tmp_path: Path, *, results: Path | None = None, trials: int = 3, pause_s: float = 0.03, more: str = ""
    ) -> None:
        self.side, self.results, self.trials = tmp_path / "side", results or tmp_path / "results", trials
        self.side.mkdir()
        self.root = self.results / "exp"
        self.script = tmp_path / "search.py"
        text = SCRIPT.format(side=str(self.side), trials=trials, iterations=ITERATIONS, pause_s=pause_s, more=more)
        self.script.write_text(text)
        self.drivers: list[subprocess.Popen[str]] = []

    def start(self, kill_at: int | None = None) -> subprocess.Popen[str]:
        """One more driver; ``kill_at`` N: it dies at its N-th effect on the world (see faultpoints.py)."""
        points = [] if kill_at is None else [str(FAULT_POINTS), str(self.root), str(kill_at)]
        driver = subprocess.Popen(
            [sys.executable, *points, str(self.script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.script.parent,
            env={**os.environ, "TUNE_RESULT_DIR": str(self.results)},
        )
        self.drivers.append(driver)
        return driver

    def finish(self) -> None:
        """Drive to the end, and check that everything is as if nothing had ever happened."""
        output, errors = self.start().communicate(timeout=PATIENCE_S)
        assert output == "finished\n", errors
        self.check()

    def view(self) -> ExperimentView | None:
        try:
            return read_experiment(self.root, with_rows=True)
        except TuneError:
            return None

    def results_so_far(self) -> int:
        view = self.view()
        return len(view.rows) if view is not None else 0

    def journal_bytes(self) -> int:
        return sum(p.stat().st_size for p in self.root.glob("journal/*.jsonl"))

    def wait(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"not seen: {what}"
            time.sleep(0.02)

    def check(self) -> None:
        """Each iteration counted once, in the journal as in result.json; no trial ran twice at a time; nothing left."""
        view = read_experiment(self.root, with_rows=True)
        assert len(view.state.trials) == self.trials
        for trial in view.state.trials.values():
            assert (trial.phase, trial.finalized) == (Phase.TERMINATED, True), trial.reason
            rows = [r.row for r in view.rows if r.trial_id == trial.trial_id]
            assert [row["i"] for row in rows] == list(range(1, ITERATIONS + 1))
            assert [row["training_iteration"] for row in rows] == list(range(1, ITERATIONS + 1))
            directory = self.root / trial.dirname
            written = [json.loads(line) for line in (directory / "result.json").read_text().splitlines()]
            assert written == [dict(row) for row in rows]
            kept = sorted(p.name for p in directory.glob("checkpoint_*"))
            listed = sorted(c.name for c in trial.checkpoints)
            assert kept == listed, f"{trial.trial_id}: there are {kept}, the journal has {listed}"
        assert list(self.side.glob("twice-*")) == []
        left = [p for p in self.root.glob("*/*") if p.name == "control.json" or p.name.startswith(("run-", ".run-"))]
        assert left == []

    def close(self) -> None:
        """End what still runs."""
        (self.side / "hold").unlink(missing_ok=True)
        for driver in self.drivers:
            if driver.poll() is None:
                driver.send_signal(signal.SIGKILL)
            driver.communicate()


Make = Callable[..., Search]
