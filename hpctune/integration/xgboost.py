"""Callbacks for XGBoost, for its own and its scikit-learn interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.checkpoint import Checkpoint
from hpctune.integration.packages import require
from hpctune.integration.reports import check_frequency, check_metrics, chosen, report_saved
from hpctune.worker import report

_xgboost = require("xgboost", "xgboost", "hpctune.integration.xgboost")


class TuneReportCheckpointCallback(_xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
    """Reports after each round, and saves the model.

    Args:
        metrics: What is reported: a name such as ``"eval-logloss"``, a list, or a dict of new name -> name; all by
            default.
        filename: The model's file in the checkpoint. A cross-validation has one for each fold: ``0_model.ubj`` ...
        frequency: Save at each ``frequency``-th round; 0: not during the training.
        checkpoint_at_end: Save after the last round as well.
        results_postprocessing_fn: Gets the history of the metrics (name -> list of values) and returns the result.
    """

    CHECKPOINT_NAME = "model.ubj"

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 5,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, list[float]]], dict[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self._metrics, self._filename = check_metrics(metrics), filename
        self._frequency, self._at_end = check_frequency(frequency), checkpoint_at_end
        self._postprocess = results_postprocessing_fn
        self._last: dict[str, Any] = {}
        self._saved_at = self._round = -1

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> Any:
        """The ``xgboost.Booster`` in a checkpoint."""
        booster = _xgboost.Booster()
        booster.load_model(str(Path(checkpoint.path) / filename))
        return booster

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
        logs = {
            f"{data}-{name}": list(map(_value, values)) for data, of in evals_log.items() for name, values in of.items()
        }
        if self._postprocess is not None:
            found = self._postprocess(logs)
        else:
            found = {name: values[-1] for name, values in logs.items()}
        self._last, self._round = chosen(self._metrics, found), epoch
        if self._frequency and (epoch + 1) % self._frequency == 0:
            self._saved_at = epoch
            report_saved(self._last, lambda folder: self._save(model, folder))
        else:
            report(self._last)
        return False

    def after_training(self, model: Any) -> Any:
        if self._at_end and self._saved_at != self._round:
            report_saved(self._last, lambda folder: self._save(model, folder))
        return model

    def _save(self, model: Any, folder: Path) -> None:
        """The model; of a cross-validation those of all folds, each with its number before the name."""
        for number, fold in enumerate(folds := getattr(model, "cvfolds", ())):
            fold.bst.save_model(str(folder / f"{number}_{self._filename}"))
        if not folds:
            model.save_model(str(folder / self._filename))


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports after each round, without checkpoints."""

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        results_postprocessing_fn: Callable[[dict[str, list[float]]], dict[str, float]] | None = None,
    ) -> None:
        super().__init__(
            metrics, frequency=0, checkpoint_at_end=False, results_postprocessing_fn=results_postprocessing_fn
        )


def _value(value: Any) -> float:
    """Cross-validation logs pairs of mean and deviation."""
    return float(value[0] if isinstance(value, tuple) else value)
