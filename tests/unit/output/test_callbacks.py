from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpctune.callback import Callback, CallbackList
from hpctune.errors import TuneError
from hpctune.logger import LoggerCallback
from tests.support.output_support import usual


class Spy(Callback):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_") or name in ("setup", "close"):
            return lambda **info: self.calls.append((name, info))
        return super().__getattribute__(name)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class Projection(Spy):
    rebuilds = True


def test_hooks_get_ray_tunes_keywords(tmp_path: Path) -> None:
    made, spy = usual(tmp_path / "exp"), Spy()
    trial, hooks = made.view("1f3a9_00000"), CallbackList([spy])
    hooks.setup(stop={}, num_samples=1, total_num_samples=2)
    hooks.on_trial_start(1, [trial], trial)
    hooks.on_trial_result(2, [trial], trial, {"a": 1})
    hooks.on_checkpoint(3, [trial], trial, None)
    hooks.on_trial_complete(4, [trial], trial)
    hooks.on_experiment_end([trial])
    assert [(name, sorted(info)) for name, info in spy.calls] == [
        ("setup", ["num_samples", "stop", "total_num_samples"]),
        ("on_trial_start", ["iteration", "trial", "trials"]),
        ("on_trial_result", ["iteration", "result", "trial", "trials"]),
        ("on_checkpoint", ["checkpoint", "iteration", "trial", "trials"]),
        ("on_trial_complete", ["iteration", "trial", "trials"]),
        ("on_experiment_end", ["trials"]),
    ]


def test_a_failure_names_callback_and_hook(tmp_path: Path) -> None:
    class Broken(Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            raise KeyError("acc")

    made = usual(tmp_path / "exp")
    trial = made.view("1f3a9_00000")
    with pytest.raises(TuneError, match=r"Broken failed in on_trial_result: KeyError: 'acc'"):
        CallbackList([Broken()]).on_trial_result(1, [trial], trial, {"loss": 1})


def test_what_a_callback_does_to_a_result_changes_nothing(tmp_path: Path) -> None:
    class Vandal(Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            result["config"].clear()
            result["list"].append(1)

    trial, row = usual(tmp_path / "exp").view("1f3a9_00000"), {"config": {"lr": 1}, "list": []}
    CallbackList([Vandal(), Vandal()]).on_trial_result(1, [trial], trial, row)
    assert row == {"config": {"lr": 1}, "list": []}


def test_after_a_restart_files_are_rebuilt_and_others_hear_of_no_result_twice(tmp_path: Path) -> None:
    made, spy, projection = usual(tmp_path / "exp"), Spy(), Projection()
    trial, hooks = made.view("1f3a9_00000"), CallbackList([spy, projection])
    rows = [{"loss": 3.0}, {"loss": 1.0}]
    hooks.rebuild(trial, rows)
    assert projection.names == ["on_trial_start", "on_trial_result", "on_trial_result"]
    assert spy.names == []
    assert trial.metric_analysis["loss"]["max"] == 3.0
    hooks.on_trial_result(1, [trial], trial, {"loss": 0.5})
    assert spy.names == ["on_trial_start", "on_trial_result"]
    hooks.on_trial_complete(2, [trial], trial)
    hooks.on_trial_restore(3, [trial], trial)  # reopened
    assert spy.names[2:] == ["on_trial_complete", "on_trial_start", "on_trial_restore"]
    assert projection.names[3:] == ["on_trial_result", "on_trial_complete", "on_trial_restore"]


def test_a_trial_that_ended_before_the_restart_gets_complete_files(tmp_path: Path) -> None:
    spy, projection = Spy(), Projection()
    trial = usual(tmp_path / "exp").view("1f3a9_00002")
    CallbackList([spy, projection]).rebuilt(trial, failed=True)
    assert (spy.names, projection.names) == ([], ["on_trial_error"])


def test_every_callback_is_closed(tmp_path: Path) -> None:
    class Broken(Callback):
        def close(self) -> None:
            raise OSError("gone")

    spy = Spy()
    with pytest.raises(TuneError, match="Broken failed in close"):
        CallbackList([Broken(), spy]).close()
    assert spy.names == ["close"]


def test_loggers_hear_in_their_own_words(tmp_path: Path) -> None:
    heard: list[Any] = []

    class Mine(LoggerCallback):
        def log_trial_start(self, trial: Any) -> None:
            heard.append(("start", str(trial)))

        def log_trial_result(self, iteration: int, trial: Any, result: Any) -> None:
            heard.append((iteration, result))

        def log_trial_end(self, trial: Any, failed: bool = False) -> None:
            heard.append(("end", failed))

    trial = usual(tmp_path / "exp").view("1f3a9_00000")
    hooks = CallbackList([Mine()])
    hooks.on_trial_start(1, [trial], trial)
    hooks.on_trial_result(2, [trial], trial, {"a": 1})
    hooks.on_trial_error(3, [trial], trial)
    hooks.on_trial_complete(4, [trial], trial)
    assert heard == [("start", "train_1f3a9_00000"), (2, {"a": 1}), ("end", True), ("end", False)]
