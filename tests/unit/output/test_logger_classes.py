"""Loggers as classes: each trial has its own instance, which hears of each result once, over several drivers too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.errors import UsageError
from hpctune.logger import (
    CSVLogger,
    CSVLoggerCallback,
    JsonLogger,
    LegacyLoggerCallback,
    Logger,
    NoopLogger,
    TBXLogger,
    UnifiedLogger,
)
from hpctune.output.defaults import DEFAULT_LOGGERS, default_callbacks
from hpctune.output.loggers.classes import logger_callbacks


class Lines(Logger):
    """Writes each call as a line."""

    def _init(self) -> None:
        assert self.trial is not None
        self._write(f"init {self.trial.trial_id == Path(self.logdir).name.split('_', 1)[1][:11]} {self.config['x']}")

    def _write(self, text: str) -> None:
        with Path(self.logdir, "lines").open("a") as file:
            file.write(f"{text}\n")

    def on_result(self, result: dict[str, Any]) -> None:
        self._write(f"result {result['training_iteration']}")

    def flush(self) -> None:
        self._write("flush")

    def close(self) -> None:
        self._write("close")


class Doubled(JsonLogger):
    """Writes another value."""

    def on_result(self, result: dict[str, Any]) -> None:
        super().on_result({**result, "value": 2 * result["value"]})


def train(config: dict[str, Any]) -> None:
    for step in range(3):
        if step == 1:
            with tune.checkpoint_dir(step) as directory:
                Path(directory, "x").touch()
        tune.report(value=step)


def test_each_trial_has_an_instance(tmp_path: Path) -> None:
    given: dict[str, Any] = {"storage_path": tmp_path, "cluster": "debug", "verbose": 0}
    found = tune.run(train, config={"x": tune.grid_search([1, 2])}, loggers=(Lines, NoopLogger, Doubled), **given)
    for trial, x in zip(found.trials, (1, 2), strict=True):
        lines = Path(trial.local_path, "lines").read_text().split("\n")
        assert lines == [f"init True {x}", "result 1", "result 2", "flush", "result 3", "close", ""]
        rows = [json.loads(line) for line in Path(trial.local_path, "result.json").read_text().splitlines()]
        assert [row["value"] for row in rows] == [0, 2, 4], "the class writes this file, not the default logger"
        assert Path(trial.local_path, "progress.csv").read_text().count("\n") == 4
        assert json.loads(Path(trial.local_path, "params.json").read_text()) == {"x": x}


def test_all_files_in_one(tmp_path: Path) -> None:
    callbacks = [LegacyLoggerCallback([UnifiedLogger])]
    found = tune.run(train, config={"x": 1}, storage_path=tmp_path, cluster="debug", verbose=0, callbacks=callbacks)
    (trial,) = found.trials
    assert len(Path(trial.local_path, "result.json").read_text().splitlines()) == 3
    with pytest.raises(UsageError, match="JsonLogger needs the trial"):
        UnifiedLogger({}, str(tmp_path))
    with pytest.raises(NotImplementedError, match="must define on_result"):
        Logger({}, str(tmp_path)).on_result({})


def test_what_they_become() -> None:
    assert logger_callbacks(None) == []
    made = logger_callbacks([JsonLogger, CSVLoggerCallback, Lines, TBXLogger, CSVLoggerCallback()])
    assert [type(each).__name__ for each in made] == [
        "JsonLoggerCallback", "CSVLoggerCallback", "TBXLoggerCallback", "CSVLoggerCallback", "LegacyLoggerCallback",
    ]  # fmt: skip
    assert [type(each) for each in default_callbacks(logger_callbacks(DEFAULT_LOGGERS))] == list(DEFAULT_LOGGERS)
    kinds = [type(each) for each in default_callbacks(logger_callbacks([type("Own", (CSVLogger,), {}), Lines]))]
    assert CSVLoggerCallback not in kinds
    assert len(kinds) == 3
