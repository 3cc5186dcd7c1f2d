"""A trainer inside a trial: the function of a search calls ``TorchTrainer(...).fit()``."""

from __future__ import annotations

from typing import Any

from hpctune.checkpoint import Checkpoint
from hpctune.ray.train import UserCallback
from hpctune.worker import report

CHECKPOINT_PATH_KEY = "checkpoint_path"


class TuneReportCallback(UserCallback):
    """For ``RunConfig(callbacks=[TuneReportCallback()])`` of a trainer that a trial calls: what the trainer's first
    process reports is the trial's result, too. ``checkpoint_path`` says where the checkpoint lies."""

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None, **more: Any
    ) -> None:
        place = {} if checkpoint is None else {CHECKPOINT_PATH_KEY: checkpoint.path}
        report({**metrics[0], **place})
