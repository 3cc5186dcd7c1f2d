"""An experiment directory with one trial, and real worker processes on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpctune.model.ids import RunKey
from hpctune.model.records import Claim, Control, Exit, ResultRow, RunRecord
from hpctune.model.resources import Resources
from hpctune.storage import bundle, control_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.run_file import RunTail

PATIENCE_S = 60.0


class Bench:
    """One trial whose driver is the test."""

    def __init__(self, root: Path, trainable: Any, config: Mapping[str, Any] | None = None, **control: Any) -> None:
        self.paths = ExperimentPaths(root / "experiment")
        self.trial = self.paths.trial("trial")
        self.trial.root.mkdir(parents=True)
        bundle.save(self.paths, trainable, None)
        self._given = {"config": dict(config or {}), **control}
        self.processes: list[subprocess.Popen[str]] = []
        self.publish()

    def publish(self, attempt: int = 1, **changes: Any) -> None:
        """Write the control file."""
        self._given |= changes
        control = Control(
            "experiment", "t_00000", "trial_0", "0", attempt, resources=Resources().to_json(), **self._given
        )
        control_file.publish(self.trial.control, control)

    def start(self, attempt: int = 1, **env: str) -> subprocess.Popen[str]:
        """Start a worker process."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HPCTUNE_", "TUNE_", "SLURM_"))}
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "hpctune.worker", str(self.paths.root), "trial", str(attempt)],
            env={**clean, **env},
            cwd=self.paths.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def run(self, attempt: int = 1, **env: str) -> tuple[int, str]:
        """Run a worker to its end: exit code and output."""
        return self.end(self.start(attempt, **env))

    @staticmethod
    def end(process: subprocess.Popen[str]) -> tuple[int, str]:
        """Wait for a worker: exit code and output."""
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output

    def records(self, attempt: int = 1, restart: int = 0) -> list[RunRecord]:
        """Every complete record of a run."""
        return RunTail(self.trial.run(attempt, restart), RunKey("t_00000", attempt, restart)).read()

    def rows(self, attempt: int = 1, restart: int = 0) -> list[ResultRow]:
        """The results of a run."""
        return [r for r in self.records(attempt, restart) if isinstance(r, ResultRow)]

    def exit(self, attempt: int = 1, restart: int = 0) -> Exit:
        """The exit record of a run; fails where there is none."""
        last = self.records(attempt, restart)[-1]
        assert isinstance(last, Exit), last
        return last

    def claim(self, attempt: int = 1, restart: int = 0) -> Claim:
        """The claim of a run."""
        first = self.records(attempt, restart)[0]
        assert isinstance(first, Claim)
        return first

    def wait_for_rows(self, count: int, attempt: int = 1, restart: int = 0) -> None:
        """Wait until a run has reported ``count`` results."""
        self.wait_for(lambda: len(self.rows(attempt, restart)) >= count)

    @staticmethod
    def wait_for(condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "this takes too long"
            time.sleep(0.01)

    def close(self) -> None:
        """Kill whatever still runs."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
