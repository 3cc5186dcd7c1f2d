"""Callbacks for PyTorch Lightning, by both names of its package."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.integration.packages import require
from hpctune.integration.reports import check_metrics, chosen, events_of, report_saved, takes_part
from hpctune.worker import report

_loaded = [name for name in ("pytorch_lightning", "lightning.pytorch") if name in sys.modules]
_lightning = require(
    (*_loaded, "lightning.pytorch", "pytorch_lightning"),
    "lightning",
    "hpctune.integration.pytorch_lightning",
)
_HOOKS = [name for name in dir(_lightning.Callback) if name.startswith("on_") and "exception" not in name]
_EVENTS = {name.removeprefix("on_"): name for name in _HOOKS}


class TuneCallback(_lightning.Callback):  # type: ignore[misc, name-defined]
    """Base: calls ``_handle`` at the events ``on``, outside Lightning's sanity check."""

    def __init__(self, on: str | Sequence[str] = "validation_end") -> None:
        super().__init__()
        self._on = events_of(on, _EVENTS)
        for method in self._on:
            setattr(self, method, self._happened)

    def _happened(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if not trainer.sanity_checking:
            self._handle(trainer, pl_module)

    def _handle(self, trainer: Any, pl_module: Any) -> None:
        raise NotImplementedError


class TuneReportCheckpointCallback(TuneCallback):
    """Reports metrics, and saves a checkpoint with ``trainer.save_checkpoint``.

    Args:
        metrics: What is reported: a name, a list, or a dict of new name -> name; all by default.
        filename: The checkpoint's file.
        save_checkpoints: Whether to save.
        on: The events, such as ``"validation_end"`` or ``"train_epoch_end"``.
    """

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        filename: str = "checkpoint",
        save_checkpoints: bool = True,
        on: str | Sequence[str] = "validation_end",
    ) -> None:
        super().__init__(on)
        self._metrics, self._filename, self._save = check_metrics(metrics), filename, save_checkpoints

    def _handle(self, trainer: Any, pl_module: Any) -> None:
        logs = {name: value.item() for name, value in trainer.callback_metrics.items()}
        found = chosen(self._metrics, logs, missing_ok=True)
        if not self._save:
            if found and takes_part(trainer.is_global_zero):
                report(found)
            return
        if trainer.world_size == 1:
            report_saved(found, lambda folder: trainer.save_checkpoint(str(folder / self._filename)))
            return
        from pathlib import Path

        folder = Path(trainer.default_root_dir) / ".hpctune-checkpoint"  # every rank takes part in saving
        trainer.save_checkpoint(str(folder / self._filename))
        if trainer.is_global_zero:
            from hpctune.checkpoint import Checkpoint

            report(found, checkpoint=Checkpoint.from_directory(folder))
        elif takes_part(False):
            report(found)


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports metrics, without checkpoints."""

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        on: str | Sequence[str] = "validation_end",
    ) -> None:
        super().__init__(metrics, save_checkpoints=False, on=on)
