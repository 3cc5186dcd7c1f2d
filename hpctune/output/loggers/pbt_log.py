"""The log of population based training: who took over from whom, with which configurations.

``pbt_global.txt`` has every exploit in order; ``pbt_policy_<trial id>.txt`` those that led to what the trial is now,
its donors' included: the schedule that PopulationBasedTrainingReplay replays. A line is a JSON list [tag of the trial,
tag of its donor, the trial's iteration, that of the donor's checkpoint, the donor's config, the new config].
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from hpctune.core.state import ExperimentState
from hpctune.model import events as e
from hpctune.output.loggers.append_files import AppendFiles
from hpctune.storage import values
from hpctune.storage.layout import ExperimentPaths

GLOBAL_FILE = "pbt_global.txt"
_PERTURBED = "@perturbed["


class PolicyLog:
    """A projection of the journal. It collects from the first event on, and writes from :meth:`start` on."""

    def __init__(self, paths: ExperimentPaths) -> None:
        self._paths, self._files = paths, AppendFiles()
        self._global = paths.at(GLOBAL_FILE)
        self._all: list[bytes] = []
        self._schedules: dict[str, list[bytes]] = {}
        self._started = False

    def start(self) -> None:
        """Write every file again, exactly as the journal says, which may be less than an earlier driver wrote."""
        self._started = True
        for path in (Path(self._global), *self._paths.root.glob("pbt_policy_*.txt")):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        if self._all:
            self._files.start(self._global, b"".join(self._all))
            self._files.flush()
        for trial_id in self._schedules:
            self._write(trial_id)

    def take(self, event: e.Event, state: ExperimentState) -> None:
        """Note ``event``, which ``state`` has just taken."""
        if not isinstance(event, e.ExploitRequested) or event.donor == event.trial_id:
            return
        line = _line(event, state)
        self._all.append(line)
        self._schedules[event.trial_id] = [*self._schedules.get(event.donor, ()), line]
        if self._started:
            self._files.append(self._global, line)
            self._files.flush()
            self._write(event.trial_id)

    def _write(self, trial_id: str) -> None:
        path = self._paths.at(f"pbt_policy_{trial_id}.txt")
        self._files.start(path, b"".join(self._schedules[trial_id]))
        self._files.release(path)

    def close(self) -> None:
        """Write what could not be written before."""
        self._files.close()


def _line(event: e.ExploitRequested, state: ExperimentState) -> bytes:
    trial, donor = state.trials[event.trial_id], state.trials[event.donor]
    tags = [t.tag.split(_PERTURBED)[0] for t in (trial, donor)]
    reached = trial.last.get("training_iteration", 0)
    return values.dumps([*tags, reached, event.iteration, donor.config, event.config]).encode() + b"\n"
