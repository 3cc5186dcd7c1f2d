"""Callbacks for PyTorch Lightning, by both names of its package."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpctune.checkpoint import Checkpoint
from hpctune.integration.packages import require
from hpctune.integration.reports import check_metrics, chosen, events_of, takes_part
from hpctune.worker import report

_loaded = [name for name in ("pytorch_lightning", "lightning.pytorch") if name in sys.modules]
lightning = require(
    (*_loaded, "lightning.pytorch", "pytorch_lightning"),
    "lightning",
    "hpctune.integration.pytorch_lightning",
)
_HOOKS = [name for name in dir(lightning.Callback) if name.startswith("on_") and "exception" not in name]
_EVENTS = {name.removeprefix("on_"): name for name in _HOOKS}


class TuneCallback(lightning.Callback):  # type: ignore[misc, name-defined]
    """Base: calls ``_handle`` at the events ``on``, outside Lightning's sanity check."""

    def __init__(self, on: str | Sequence[str] = "validation_end") -> None:
        super().__init__()
        self._on = events_of(on, _EVENTS)

    def _handle(self, trainer: Any, pl_module: Any) -> None:
        raise NotImplementedError


def _hook(method: str) -> Callable[..., None]:
    def happened(self: TuneCallback, trainer: Any, pl_module: Any = None, *args: Any, **kwargs: Any) -> None:
        if method in self._on and not trainer.sanity_checking:
            self._handle(trainer=trainer, pl_module=pl_module)

    happened.__name__ = method
    return happened


for _method in _HOOKS:
    setattr(TuneCallback, _method, _hook(_method))


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
        found = self._get_report_dict(trainer, pl_module)
        if found is None:
            return
        with self._get_checkpoint(trainer) as checkpoint:
            if (found or self._save) and takes_part(trainer.is_global_zero):
                report(found, checkpoint=checkpoint)

    def _get_report_dict(self, trainer: Any, pl_module: Any) -> dict[str, Any] | None:
        """What is reported; None in Lightning's sanity check. Scripts call and override it, as in Ray."""
        if trainer.sanity_checking:
            return None
        logs = {name: value.item() for name, value in trainer.callback_metrics.items()}
        return chosen(self._metrics, logs, missing_ok=True)

    @contextmanager
    def _get_checkpoint(self, trainer: Any) -> Iterator[Checkpoint | None]:
        """The checkpoint that is reported: None if none is saved, and in all processes but the first. Every rank takes
        part in saving. Scripts call and override it, as in Ray."""
        if not self._save:
            yield None
        elif trainer.world_size == 1:
            with tempfile.TemporaryDirectory(prefix="hpctune-checkpoint-") as folder:
                trainer.save_checkpoint(str(Path(folder, self._filename)))
                yield Checkpoint.from_directory(folder)
        else:
            folder = str(Path(trainer.default_root_dir, ".hpctune-checkpoint"))
            trainer.save_checkpoint(str(Path(folder, self._filename)))
            yield Checkpoint.from_directory(folder) if trainer.is_global_zero else None


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports metrics, without checkpoints."""

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        on: str | Sequence[str] = "validation_end",
    ) -> None:
        super().__init__(metrics, save_checkpoints=False, on=on)
