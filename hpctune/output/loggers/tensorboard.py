"""TensorBoard: one events file per trial, one event per result; tensorboardX makes the histograms."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

from hpctune import ray
from hpctune.model.metric_stats import as_number
from hpctune.model.rows import AUTO_FILLED, NOT_SHOWN, Shape, flatten, shape_of
from hpctune.output.callback import LoggerCallback
from hpctune.output.loggers.append_files import AppendFiles
from hpctune.output.loggers.hparams import summaries
from hpctune.output.loggers.row_shapes import ShapeCache
from hpctune.output.loggers.tfrecord import event_message, file_head, record, scalar_head, scalar_value, scalars_of
from hpctune.storage import values
from hpctune.trial import Trial

RAY = "ray/tune/"
"""Of every tag, if the script imports ``ray``: boards that were made for Ray Tune's files work."""
INFO = "~info/"
"""Else, of the tags of what is filled in. TensorBoard sorts its cards by name, and ``~`` comes after all letters of
ASCII, so the cards of what the user reported come first."""
NOT_PLOTTED = NOT_SHOWN | {"pid", "timestamp", "date", "hostname", "node_ip", "trial_id", "experiment_id"}
HISTOGRAM_BINS = 30
_Summary = Callable[[Mapping[str, Any]], bytes]


class TBXLoggerCallback(LoggerCallback):
    """Numbers become scalars, lists of numbers histograms; at the trial's end its hyperparameters are added.

    The tag of a reported value is its name; that of what is filled in (times, counters) begins with :data:`INFO`. No
    thread and no handle stays: tensorboardX's own writer has a thread for each file.

    Args:
        ray_names: Tags as Ray Tune writes them, all with :data:`RAY`. None: if the script imports ``ray``.
    """

    rebuilds = True
    ray_names: bool = True
    """Of loggers that were pickled before there were other names."""

    def __init__(self, ray_names: bool | None = None) -> None:
        self.ray_names = ray.installed() if ray_names is None else ray_names
        self._files = AppendFiles()
        self._paths: dict[str, str] = {}
        self._quick: ShapeCache[_Summary | None] = ShapeCache()
        """How rows that hold nothing nested, and at least two numbers, are written."""

    def log_trial_start(self, trial: Trial) -> None:
        self._files.start(self._path(trial), record(file_head(trial.value.added_at)))

    def log_trial_result(self, iteration: int, trial: Trial, result: Mapping[str, Any]) -> None:
        event = event_message(_wall_time(result, trial), _step(result), self._summary(result))
        self._files.append(self._path(trial), record(event))

    def _summary(self, result: Mapping[str, Any]) -> bytes:
        shape = shape_of(result)
        quick = self._quick[shape] if shape in self._quick else self._quick.note(shape, _quick(shape, self.ray_names))
        if quick is not None:
            try:
                return quick(result)
            except (OverflowError, struct.error):
                pass
        scalars, others = list[bytes](), list[tuple[str, Any]]()
        for key, value in flatten({k: v for k, v in result.items() if k not in NOT_PLOTTED}).items():
            number = as_number(value)
            if number is None:
                others.append((key, value))
            else:
                scalars.append(scalar_head(tag_of(key, self.ray_names)) + scalar_value(number))
        named = ((tag_of(key, self.ray_names), value) for key, value in others)
        return b"".join(scalars) + _histograms(named)

    def flush(self) -> None:
        self._files.flush()

    def _path(self, trial: Trial) -> str:
        path = self._paths.get(trial.trial_id)
        if path is None:
            path = self._paths[trial.trial_id] = events_path(trial)
        return path

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        path = self._path(trial)
        if trial.has_reported_at_least_once:
            self._files.append(path, _hyperparameters(trial, self.ray_names))
        self._files.release(path)
        self._paths.pop(trial.trial_id, None)

    def close(self) -> None:
        self._files.close()


def _quick(shape: Shape, ray_names: bool) -> _Summary | None:
    kinds = {key: kind for key, kind in zip(*shape, strict=True) if key not in NOT_PLOTTED}
    numbers = [key for key, kind in kinds.items() if kind in (float, int, bool)]
    if len(numbers) < 2 or any(kind not in (float, int, bool, str, type(None)) for kind in kinds.values()):
        return None
    chosen, scalars = itemgetter(*numbers), scalars_of([tag_of(key, ray_names) for key in numbers])
    return lambda row: scalars(chosen(row))


def tag_of(key: str, ray_names: bool) -> str:
    """The tag of a value, by the flat key of a result."""
    prefix = RAY if ray_names else INFO if key.partition("/")[0] in AUTO_FILLED else ""
    return _sayable(prefix + key)


def events_path(trial: Trial) -> str:
    """The events file of ``trial``; the name stays the same over drivers."""
    return trial.paths.at(f"events.out.tfevents.{int(trial.value.added_at)}.hpctune")


def _wall_time(result: Mapping[str, Any], trial: Trial) -> float:
    number = as_number(result.get("timestamp"))
    return trial.value.added_at if number is None else number


def _step(result: Mapping[str, Any]) -> int:
    """The time steps, if the trial counts them, else its iteration."""
    for key in ("timesteps_total", "training_iteration"):
        number = as_number(result.get(key))
        if number and math.isfinite(number):
            return int(number)
    return 0


def _histograms(items: Iterable[tuple[str, Any]]) -> bytes:
    """The part of a summary that holds lists of numbers, by their tags."""
    written = []
    for tag, value in items:
        if value is None or isinstance(value, (str, bytes)):
            continue
        if not (isinstance(value, (list, tuple)) or hasattr(value, "shape")):
            continue
        numbers = [n for n in _numbers(value) if math.isfinite(n)]
        if numbers:
            import numpy as np
            from tensorboardX.proto.summary_pb2 import Summary
            from tensorboardX.summary import make_histogram

            with contextlib.suppress(ValueError):  # a range beyond floats cannot be cut into bins
                histogram = make_histogram(np.asarray(numbers, dtype=float), HISTOGRAM_BINS)
                one = Summary.Value(tag=tag, histo=histogram)
                written.append(Summary(value=[one]).SerializeToString())
    return b"".join(written)


def _sayable(text: str) -> str:
    """``text`` without characters that UTF-8 cannot encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _numbers(value: Any) -> Iterable[float]:
    """Every number in nested lists or an array."""
    for item in value.tolist() if hasattr(value, "tolist") else value:
        number = as_number(item)
        if number is not None:
            yield number
        elif isinstance(item, (list, tuple)):
            yield from _numbers(item)


def _hyperparameters(trial: Trial, ray_names: bool) -> bytes:
    """The records by which TensorBoard's HPARAMS page compares trials: by what the user reported, the experiment's
    metric first."""
    given = flatten(values.plain(trial.value.varied))
    valid = {
        _sayable(k): _sayable(v) if isinstance(v, str) else v
        for k, v in given.items()
        if isinstance(v, (bool, int, float, str))
    }
    last = trial.value.last
    left_out = NOT_PLOTTED if ray_names else AUTO_FILLED
    results = flatten({k: v for k, v in last.items() if k not in left_out})
    names = sorted((k for k, v in results.items() if as_number(v) is not None), key=lambda k: k != trial.spec.metric)
    metrics = {tag_of(k, ray_names): results[k] for k in names}
    wall_time = _wall_time(last, trial)
    return b"".join(record(event_message(wall_time, 0, summary)) for summary in summaries(valid, metrics))
