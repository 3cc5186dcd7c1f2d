"""An experiment as a folder for TensorBoard, with a run for each trial."""

from __future__ import annotations

from pathlib import Path

from hpctune.analysis.load import LoadedExperiment
from hpctune.interop.export.target import Progress
from hpctune.model.trial import Phase
from hpctune.output.loggers.tensorboard import TBXLoggerCallback, events_path
from hpctune.trial import Trial


class _Writer(TBXLoggerCallback):
    """Writes below another folder than the experiment's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(ray_names=False)
        self._folder = folder

    def _path(self, trial: Trial) -> str:
        return str(self._folder / trial.value.dirname / Path(events_path(trial)).name)


def write_events(loaded: LoadedExperiment, folder: Path, progress: Progress) -> int:
    """Write the events file of each trial that has results, in place of one that is there; returns how many."""
    writer, written = _Writer(folder), 0
    for number, trial in enumerate(loaded.trials, 1):
        progress(number, len(loaded.trials))
        if not trial.has_reported_at_least_once:
            continue
        written += 1
        writer.log_trial_start(trial)
        for step, counted in enumerate(loaded.rows(trial.trial_id), 1):
            writer.log_trial_result(step, trial, dict(counted.row))
        writer.log_trial_end(trial, failed=trial.value.phase is Phase.ERROR)
    writer.close()
    return written
