"""The thread that delivers results to a tracker."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.integration.tracker import TrackerCallback
from hpctune.trial import Trial
from tests.support.output_support import Recorder


class Slow(TrackerCallback):
    """Opens a run only when it is told to, and forgets it at its end."""

    service = "Slow"

    def __init__(self) -> None:
        super().__init__()
        self.opening, self.go_on = threading.Event(), threading.Event()
        self.open: dict[str, list[Any]] = {}
        self.done: list[tuple[str, list[Any]]] = []

    def _open(self, trial: Trial, name: str) -> int:
        self.open[name] = []
        self.opening.set()
        assert self.go_on.wait(60)
        return 0

    def _log(self, trial: Trial, name: str, number: int, row: Mapping[str, Any]) -> None:
        self.open[name].append(row["loss"])

    def _config(self, trial: Trial, name: str, config: Mapping[str, Any]) -> None:
        self.open[name].append(dict(config))

    def _end(self, trial: Trial, name: str, failed: bool) -> None:
        self.done.append((name, self.open.pop(name)))


def test_an_end_that_comes_while_a_run_is_opened_is_delivered_once(tmp_path: Path, caplog: Any) -> None:
    made, slow = Recorder(tmp_path / "exp"), Slow()
    first, second = made.add(lr=1), made.add(lr=2)
    slow.setup()
    for trial in (first, second):
        made.start(trial)
        slow.log_trial_start(made.view(trial))
    assert slow.opening.wait(60), "the first run is being opened"
    for trial in (first, second):
        made.report(trial, [{"loss": 3.0}])
        slow.log_trial_result(1, made.view(trial), {"loss": 3.0})
        made.finish(trial)
        slow.log_trial_end(made.view(trial))
    slow.go_on.set()
    slow.close()
    assert sorted(slow.done) == [(first, [{"lr": 1}, 3.0]), (second, [{"lr": 2}, 3.0])]
    assert not caplog.messages
