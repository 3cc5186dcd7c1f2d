"""A logger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hpctune


class LinesLogger(hpctune.Callback):
    """Appends a line to ``lines.txt`` in the trial's directory for each result."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        with (Path(trial.local_path) / "lines.txt").open("a") as file:
            file.write(f"{result['training_iteration']} {result['loss']}\n")
