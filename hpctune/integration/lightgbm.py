"""Callbacks for LightGBM, for its own and its scikit-learn interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.checkpoint import Checkpoint
from hpctune.integration.packages import require
from hpctune.integration.reports import check_frequency, check_metrics, chosen, report_saved
from hpctune.worker import report

_lightgbm = require("lightgbm", "lightgbm", "hpctune.integration.lightgbm")


class TuneReportCheckpointCallback:
    """Reports after each round, and saves the model.

    Args:
        metrics: What is reported: a name such as ``"eval-binary_logloss"``, a list, or a dict of new name -> name; all
            by default.
        filename: The model's file in the checkpoint.
        frequency: Save at each ``frequency``-th round; 0: not during the training.
        checkpoint_at_end: Save after the last round as well.
        results_postprocessing_fn: Gets the metrics (name -> value) and returns what is reported.
    """

    CHECKPOINT_NAME = "model.txt"
    order = 20

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 5,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, float]], dict[str, float]] | None = None,
    ) -> None:
        self._metrics, self._filename = check_metrics(metrics), filename
        self._frequency, self._at_end = check_frequency(frequency), checkpoint_at_end
        self._postprocess = results_postprocessing_fn

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> Any:
        """The ``lightgbm.Booster`` in a checkpoint."""
        return _lightgbm.Booster(model_file=str(Path(checkpoint.path) / filename))

    def __call__(self, env: Any) -> None:
        logs: dict[str, float] = {}
        for entry in env.evaluation_result_list or ():
            logs[f"{entry[0]}-{entry[1]}" + ("-mean" if len(entry) == 5 else "")] = float(entry[2])
            if len(entry) == 5:  # cross-validation
                logs[f"{entry[0]}-{entry[1]}-stdv"] = float(entry[4])
        if self._postprocess is not None:
            logs = self._postprocess(logs)
        found = chosen(self._metrics, logs)
        done = env.iteration + 1
        due = bool(self._frequency) and done % self._frequency == 0
        if due or (self._at_end and done == env.end_iteration):
            report_saved(found, lambda folder: env.model.save_model(str(folder / self._filename)))
        elif found:
            report(found)


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports after each round, without checkpoints."""

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        results_postprocessing_fn: Callable[[dict[str, float]], dict[str, float]] | None = None,
    ) -> None:
        super().__init__(
            metrics, frequency=0, checkpoint_at_end=False, results_postprocessing_fn=results_postprocessing_fn
        )
