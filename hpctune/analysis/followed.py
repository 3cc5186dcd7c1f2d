"""An experiment for those who look again and again: of its journal each look reads only what is new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpctune.analysis.cost.runs import Runs
from hpctune.analysis.timeline import Lane, Timeline
from hpctune.model import events as e
from hpctune.storage.follow import ExperimentFollower, fingerprint
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import ExperimentView


@dataclass(frozen=True, slots=True)
class Reading:
    """An experiment at one moment: its state and rows, the runs of its trials, and its allocations."""

    view: ExperimentView
    runs: Runs
    lanes: list[Lane]


class FollowedExperiment:
    """The experiment in ``path``. One thread at a time may use it."""

    def __init__(self, path: str | Path) -> None:
        self.paths = ExperimentPaths(Path(path).expanduser().absolute())
        self._follower = ExperimentFollower(self.paths.root, self._begin)
        self._live: list[str] = []

    def _begin(self) -> Callable[[e.Recorded], None]:
        runs, timeline = self._runs, self._timeline = Runs(), Timeline()

        def take(recorded: e.Recorded) -> None:
            runs.take(recorded)
            timeline.take(recorded)

        return take

    def read(self) -> Reading:
        """The experiment as it is now. A later reading may change ``runs``. Raises TuneError if there is none."""
        view = self._follower.view()
        self._live = [trial.dirname for trial in view.state.active_trials()]
        return Reading(view, self._runs, self._timeline.lanes(self.paths))

    def fingerprint(self) -> str:
        """Changes when the experiment has changed since the last reading."""
        return fingerprint(self.paths, self._live)
