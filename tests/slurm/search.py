"""``hpctune run`` on the test's Slurm, as a user calls it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hpctune.model import events as e
from hpctune.storage import journal


class Search:
    """``hpctune run`` in a directory of its own."""

    def __init__(self, directory: Path, config: str, *options: str) -> None:
        (directory / "config.py").write_text(config)
        self.directory, self.experiment = directory, directory / "results" / "run"
        hpctune = shutil.which("hpctune", path=str(Path(sys.executable).parent)) or "hpctune"
        command = [hpctune, "run", "config.py", "--storage-path", "results", "--cluster", "slurm", *options]
        self.driver = subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self, code: int = 0, within_s: float = 150) -> str:
        """Wait for the end; what the command said. Fails unless it ended with ``code``."""
        out, _ = self.driver.communicate(timeout=within_s)
        assert self.driver.returncode == code, out
        return out

    def end(self) -> None:
        """Kill the driver if it still runs."""
        if self.driver.poll() is None:
            self.driver.kill()
        self.driver.communicate()

    def facts(self) -> list[e.Event]:
        return [r.event for r in journal.read(self.experiment / "journal")]

    def rows(self) -> dict[int, list[dict[str, Any]]]:
        """A plain reading of the result.json files, by ``who``."""
        rows: dict[int, list[dict[str, Any]]] = {}
        for file in self.experiment.glob("*/result.json"):
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            config = lines[0]["config"]
            config = config.get("train_loop_config", config)
            who = config.get("who", config.get("x"))
            assert who not in rows
            rows[who] = lines
        return rows
