"""TensorBoard: one events file a trial, with one event a result, written through tensorboardX's messages."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpctune.model.rows import flatten
from hpctune.output.appendfiles import AppendFiles
from hpctune.output.callback import LoggerCallback
from hpctune.output.metric_stats import as_number
from hpctune.output.tfrecord import record
from hpctune.storage import values
from hpctune.trial import Trial

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event

PREFIX = "ray/tune/"
"""Of every tag: boards that were made for Ray Tune's files work."""
NOT_PLOTTED = frozenset({"config", "pid", "timestamp", "date", "hostname", "node_ip", "trial_id", "experiment_id"})
HISTOGRAM_BINS = 30


class TBXLoggerCallback(LoggerCallback):
    """Numbers become scalars, lists of numbers histograms; at the trial's end its hyperparameters are added.

    No thread and no handle stays: tensorboardX's own writer has a thread for each file.
    """

    rebuilds = True

    def __init__(self) -> None:
        self._files = AppendFiles()

    def log_trial_start(self, trial: Trial) -> None:
        from tensorboardX.proto.event_pb2 import Event

        head = Event(wall_time=trial.value.added_at, file_version="brain.Event:2")
        self._files.start(events_path(trial), record(head.SerializeToString()))

    def log_trial_result(self, iteration: int, trial: Trial, result: Mapping[str, Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event

        event = Event(wall_time=_wall_time(result, trial), step=_step(result))
        for key, value in flatten({k: v for k, v in result.items() if k not in NOT_PLOTTED}).items():
            _add(event, _sayable(PREFIX + key), value)
        self._files.append(events_path(trial), record(event.SerializeToString()))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        if trial.has_reported_at_least_once:
            self._files.append(events_path(trial), _hyperparameters(trial))
        self._files.release(events_path(trial))

    def close(self) -> None:
        self._files.close()


def events_path(trial: Trial) -> Path:
    """The events file of ``trial``; the name stays the same over drivers."""
    return trial.paths.root / f"events.out.tfevents.{int(trial.value.added_at)}.hpctune"


def _wall_time(result: Mapping[str, Any], trial: Trial) -> float:
    number = as_number(result.get("timestamp"))
    return trial.value.added_at if number is None else number


def _step(result: Mapping[str, Any]) -> int:
    """The time steps where the trial counts them, else its iteration."""
    for key in ("timesteps_total", "training_iteration"):
        number = as_number(result.get(key))
        if number and math.isfinite(number):
            return int(number)
    return 0


def _add(event: Event, tag: str, value: Any) -> None:
    number = as_number(value)
    if number is not None:
        event.summary.value.add(tag=tag, simple_value=number)
        return
    if isinstance(value, (str, bytes)) or not (isinstance(value, (list, tuple)) or hasattr(value, "shape")):
        return
    numbers = [n for n in _numbers(value) if math.isfinite(n)]
    if numbers:
        import numpy as np
        from tensorboardX.summary import make_histogram

        with contextlib.suppress(ValueError):  # a range beyond floats cannot be cut into bins
            event.summary.value.add(tag=tag, histo=make_histogram(np.asarray(numbers, dtype=float), HISTOGRAM_BINS))


def _sayable(text: str) -> str:
    """``text`` without what UTF-8 cannot say."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _numbers(value: Any) -> Iterable[float]:
    """Every number in nested lists or an array."""
    for item in value.tolist() if hasattr(value, "tolist") else value:
        number = as_number(item)
        if number is not None:
            yield number
        elif isinstance(item, (list, tuple)):
            yield from _numbers(item)


def _hyperparameters(trial: Trial) -> bytes:
    """The records by which TensorBoard's HPARAMS page compares trials."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import hparams

    given = flatten(values.plain(trial.value.evaluated))
    valid = {
        _sayable(k): _sayable(v) if isinstance(v, str) else v
        for k, v in given.items()
        if isinstance(v, (bool, int, float, str))
    }
    last = trial.value.last
    results = flatten({k: v for k, v in last.items() if k not in NOT_PLOTTED})
    metrics = {_sayable(PREFIX + k): v for k, v in results.items() if as_number(v) is not None}
    wall_time = _wall_time(last, trial)
    messages = hparams(valid, metrics)
    return b"".join(record(Event(wall_time=wall_time, summary=m).SerializeToString()) for m in messages)
