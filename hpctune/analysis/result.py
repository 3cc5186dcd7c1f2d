"""``Result``: the outcome of one trial."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpctune.analysis import best
from hpctune.analysis.experiment_analysis import ExperimentAnalysis
from hpctune.analysis.notebook import result_html, trial_html
from hpctune.checkpoint import Checkpoint
from hpctune.common import urls
from hpctune.core.retention import best_names
from hpctune.errors import UsageError
from hpctune.mirror.options import as_text, is_elsewhere
from hpctune.model.rows import NOT_SHOWN
from hpctune.model.trial import CheckpointRef, Phase
from hpctune.trial import Trial

if TYPE_CHECKING:
    import pandas as pd


class Result:
    """What came of one trial.

    Attributes:
        metrics: Its last result. Before the first: what is known of every trial, or None if it has not started.
        checkpoint: Its newest checkpoint.
        error: Why it failed, if it did; the text is the traceback.
        path: Its directory.
    """

    def __init__(
        self,
        metrics: dict[str, Any] | None,
        checkpoint: Checkpoint | None,
        error: Exception | None,
        path: str,
        metrics_dataframe: pd.DataFrame | None = None,
        best_checkpoints: list[tuple[Checkpoint, dict[str, Any]]] | None = None,
    ) -> None:
        self.metrics, self.checkpoint, self.error, self.path = metrics, checkpoint, error, path
        self._dataframe, self._checkpoints = metrics_dataframe, best_checkpoints
        self._source: tuple[ExperimentAnalysis, Trial] | None = None

    @classmethod
    def of(cls, analysis: ExperimentAnalysis, trial: Trial) -> Result:
        """What came of ``trial``; tables and checkpoints are read when they are asked for."""
        error = trial.get_error() if trial.value.phase is Phase.ERROR else None
        known = trial.known_fields if trial.start_time is not None else None
        result = cls(trial.last_result or known, trial.checkpoint, error, trial.local_path)
        result._source = analysis, trial
        return result

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> Result:
        """What came of the trial whose directory is ``path``, read from the experiment around it, or from its copy at
        a URL."""
        place = as_text(path)
        if storage_filesystem is None and not is_elsewhere(place):
            place = str(Path(place.removeprefix("file://")).expanduser().absolute())
        around, name = urls.parent(place), urls.last_name(place)
        analysis = ExperimentAnalysis(around, storage_filesystem=storage_filesystem)
        for trial in analysis.trials:
            if trial.value.dirname == name:
                return cls.of(analysis, trial)
        raise UsageError(
            f"{urls.public(place)} is not the directory of any trial of {urls.public(around)}. List them: hpctune list "
            "PATH"
        )

    @property
    def config(self) -> dict[str, Any] | None:
        """The trial's configuration."""
        if self._source is not None:
            return self._source[1].config
        return self.metrics.get("config") if self.metrics else None

    @property
    def log_dir(self) -> Path:
        """The trial's directory."""
        return Path(self.path)

    @cached_property
    def metrics_dataframe(self) -> pd.DataFrame | None:
        """All its results, one line each."""
        if self._source is None:
            return self._dataframe
        analysis, trial = self._source
        return analysis.trial_dataframe(trial)

    @cached_property
    def best_checkpoints(self) -> list[tuple[Checkpoint, dict[str, Any]]] | None:
        """The best ``num_to_keep`` checkpoints, oldest first, each with the result at which it was made. The newest,
        which is kept in any case, is ``checkpoint``."""
        if self._source is None:
            return self._checkpoints
        analysis, trial = self._source
        kept = best.checkpoint_rows(trial, analysis.rows_of(trial))
        names = best_names(trial.value.checkpoints, trial.spec.checkpoint)
        return [(trial.open_checkpoint(ref), dict(row)) for ref, row in kept if ref.name in names]

    def get_best_checkpoint(self, metric: str, mode: str) -> Checkpoint | None:
        """The checkpoint with the best value of ``metric``; None if there is no checkpoint."""
        kept = self.best_checkpoints or []
        numbered = [(CheckpointRef(str(n), n), row) for n, (_, row) in enumerate(kept)]
        found = best.best_checkpoint(numbered, metric, mode)
        return kept[found.iteration][0] if found is not None else None

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        if self._source is None:
            return result_html(None, None, self.metrics or {}, self.path)
        analysis, of = self._source
        rows = [counted.row for counted in analysis.rows_of(of)]
        return trial_html(of.value, rows, analysis.default_metric, self.metrics or {}, self.path)

    def __repr__(self) -> str:
        shown = {k: v for k, v in (self.metrics or {}).items() if k not in NOT_SHOWN} if self.metrics else None
        error = f", error={type(self.error).__name__}" if self.error is not None else ""
        return f"Result(metrics={shown!r}, path={self.path!r}, checkpoint={self.checkpoint!r}{error})"
