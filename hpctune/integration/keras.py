"""Callbacks for Keras 3 (any backend), tf.keras, and Keras 2 (tf_keras)."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from hpctune.errors import UsageError
from hpctune.integration.packages import require
from hpctune.integration.reports import check_frequency, check_metrics, chosen, events_of, report_saved
from hpctune.worker import report


def _packages() -> tuple[str, ...]:
    """The packages that may be Keras here: Keras 2 first if the script uses it, whose models take no other callback."""
    asked = os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True")
    legacy = asked or ("tf_keras" in sys.modules and "keras" not in sys.modules)
    return (*(("tf_keras",) if legacy else ()), "keras", "tensorflow.keras")


_keras = require(_packages(), "keras", "hpctune.integration.keras")
_FILES = (".keras", ".h5", ".hdf5")
"""Endings of the files that Keras writes."""
_PARTS = ("epoch", "batch", "train", "train_batch", "test", "test_batch", "predict", "predict_batch")
_EVENTS = {f"{part}_{edge}": f"on_{part}_{edge}" for part in _PARTS for edge in ("begin", "end")}


class ReportCheckpointCallback(_keras.callbacks.Callback):  # type: ignore[misc, name-defined]
    """Reports metrics, and saves the model with ``model.save``.

    Args:
        checkpoint_on: The events at which the model is saved, such as ``"epoch_end"`` or a list of them.
        report_metrics_on: The events at which metrics are reported. A checkpoint is always reported with metrics.
        metrics: What is reported: a name, a list, or a dict of new name -> name; all by default.
        filename: The model's file in the checkpoint. Without an ending that Keras knows (``.keras``, ``.h5``), it is a
            directory. ``load_model`` reads both.
        frequency: Save at each ``frequency``-th such event; 0: never. A list has one for each event of
            ``checkpoint_on``.
    """

    def __init__(
        self,
        checkpoint_on: str | Sequence[str] = "epoch_end",
        report_metrics_on: str | Sequence[str] = "epoch_end",
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        filename: str = "model.keras",
        frequency: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        self._save_on, self._report_on = events_of(checkpoint_on, _EVENTS), events_of(report_metrics_on, _EVENTS)
        self._metrics, self._filename = check_metrics(metrics), filename
        self._frequency = _frequencies(checkpoint_on, frequency)
        self._count: dict[str, int] = {}
        for method in (self._save_on | self._report_on) - _RARE.keys():  # Keras looks who follows batches
            setattr(self, method, partial(_hook(method), self))

    def _happened(self, method: str, logs: Mapping[str, Any]) -> None:
        if method not in self._save_on | self._report_on:
            return
        found = chosen(self._metrics, {name: _plain(value) for name, value in logs.items()})
        count = self._count[method] = self._count.get(method, 0) + 1
        every = self._frequency.get(method, 0)
        if every and count % every == 0:
            report_saved(found, lambda folder: _save(self.model, str(folder / self._filename)))
        elif method in self._report_on and found:
            report(found)


def _hook(method: str) -> Callable[..., None]:
    def with_index(self: ReportCheckpointCallback, index: int, logs: Mapping[str, Any] | None = None) -> None:
        self._happened(method, logs or {})

    def without_index(self: ReportCheckpointCallback, logs: Mapping[str, Any] | None = None) -> None:
        self._happened(method, logs or {})

    return with_index if method.startswith(("on_epoch", "on_batch")) or "_batch_" in method else without_index


_RARE = {method: _hook(method) for method in _EVENTS.values() if "batch" not in method}
"""Methods that derived classes may override, and call the one of their base."""
for _method, _function in _RARE.items():
    setattr(ReportCheckpointCallback, _method, _function)


class TuneReportCallback(ReportCheckpointCallback):
    """Reports metrics, without checkpoints."""

    def __init__(
        self, metrics: str | Sequence[str] | Mapping[str, str] | None = None, on: str | Sequence[str] = "epoch_end"
    ) -> None:
        super().__init__((), on, metrics, frequency=0)


class TuneReportCheckpointCallback(ReportCheckpointCallback):
    """Reports metrics, and saves the model at each ``frequency``-th event ``on``."""

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        filename: str = "checkpoint",
        frequency: int | Sequence[int] = 1,
        on: str | Sequence[str] = "epoch_end",
    ) -> None:
        super().__init__(on, on, metrics, filename, frequency)


def _frequencies(events: str | Sequence[str], frequency: int | Sequence[int]) -> dict[str, int]:
    """How often the model is saved, by the methods of the events. Raises UsageError."""
    named = [events] if isinstance(events, str) else list(events)
    each = list(frequency) if isinstance(frequency, (list, tuple)) else [frequency] * len(named)
    if len(each) != len(named):
        raise UsageError(f"frequency={frequency!r} must have as many numbers as there are events: {', '.join(named)}.")
    checked = [check_frequency(one) for one in each]
    return {method: one for name, one in zip(named, checked, strict=True) for method in events_of(name, _EVENTS)}


def _save(model: Any, path: str) -> None:
    """Save the model. Keras 3 has an option of its own for a directory; Keras 2 makes one by itself."""
    makes_file = path.endswith(_FILES) or "zipped" not in inspect.signature(model.save).parameters
    model.save(path) if makes_file else model.save(path, zipped=False)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value.numpy().item() if hasattr(value, "numpy") else value
