"""A callback for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hpctune.integration.packages import require
from hpctune.integration.reports import report_saved, takes_part
from hpctune.worker import report

_transformers = require("transformers", "transformers", "hpctune.integration.transformers")


class RayTrainReportCallback(_transformers.TrainerCallback):  # type: ignore[misc, name-defined]
    """Reports the latest logged metrics at each checkpoint of the Trainer, with that checkpoint.

    It lies in the folder ``checkpoint`` of the reported one: ``trainer.train(resume_from_checkpoint=...)`` takes it.
    """

    CHECKPOINT_NAME = "checkpoint"

    def __init__(self) -> None:
        self._metrics: dict[str, Any] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self._metrics.update(logs or {})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        metrics = {**self._metrics, "step": state.global_step, "epoch": state.epoch}
        if state.is_world_process_zero:
            source = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            report_saved(metrics, lambda folder: shutil.copytree(source, folder / self.CHECKPOINT_NAME))
        elif takes_part(False):
            report(metrics)


class TuneReportCallback(RayTrainReportCallback):
    """Reports metrics after each evaluation, without checkpoints."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        pass

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        if takes_part(state.is_world_process_zero):
            report({**self._metrics, **(metrics or {}), "step": state.global_step, "epoch": state.epoch})


TuneReportCheckpointCallback = RayTrainReportCallback


def prepare_trainer(trainer: Any) -> Any:
    """The trainer, ready for a trial: with hpctune's callback if it has none. As in Ray Train."""
    callbacks = trainer.callback_handler.callbacks
    if not any(isinstance(callback, RayTrainReportCallback) for callback in callbacks):
        trainer.add_callback(RayTrainReportCallback())
    return trainer
