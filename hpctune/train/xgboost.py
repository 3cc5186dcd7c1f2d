"""``XGBoostTrainer`` and what its function uses, with the names of Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from hpctune.integration.xgboost import TuneReportCheckpointCallback
from hpctune.train.backend import BackendConfig, World
from hpctune.train.boosting import BoostingTrainer
from hpctune.train.model_checkpoint import ModelCheckpoint
from hpctune.worker.ranks.trainable import TIMEOUT_S


@dataclass
class XGBoostConfig(BackendConfig):
    """XGBoost's communicator between the processes of a trial: ``xgboost.train`` in the function uses it.

    ``timeout_s``: seconds that the processes wait for each other.
    """

    timeout_s: float = TIMEOUT_S
    _tracker: Any = field(default=None, init=False, repr=False, compare=False)

    def start(self, world: World, timeout_s: float) -> None:
        """Join the communicator. Its tracker runs in the first process."""
        if world.size == 1:
            return
        from xgboost import collective
        from xgboost.tracker import RabitTracker

        host, _, port = world.addresses[0].rpartition(":")
        if world.rank == 0:
            self._tracker = RabitTracker(world.size, host, int(port), sortby="task")
            self._tracker.start()
        collective.init(
            dmlc_tracker_uri=host,
            dmlc_tracker_port=int(port),
            dmlc_timeout=int(timeout_s),
            dmlc_task_id=f"{world.rank:08d}",  # they are sorted as text: its rank is ours
        )

    def stop(self) -> None:
        """Leave the communicator. Its tracker stays until all processes have left it."""
        from xgboost import collective

        if collective.is_distributed():
            collective.finalize()
        if self._tracker is not None:
            self._tracker.wait_for(int(self.timeout_s))
            self._tracker = None


class XGBoostTrainer(BoostingTrainer):
    """A :class:`DataParallelTrainer` whose function calls ``xgboost.train`` with the data of its process.

    Args:
        train_loop_per_worker: A function of the configuration, or of nothing.
        xgboost_config: The communicator.
        arguments: Those of DataParallelTrainer.
    """

    _backend = XGBoostConfig

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any] | None = None,
        *,
        xgboost_config: XGBoostConfig | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(train_loop_per_worker, backend_config=xgboost_config, **arguments)


class XGBoostCheckpoint(ModelCheckpoint):
    """A checkpoint with a model of XGBoost, in the file ``model.json``."""

    MODEL_FILENAME: ClassVar[str] = "model.json"

    @classmethod
    def from_model(cls, booster: Any, *, preprocessor: Any = None) -> Self:
        """One with a Booster."""
        return cls._with(lambda directory: booster.save_model(directory / cls.MODEL_FILENAME), preprocessor)

    def get_model(self) -> Any:
        """The Booster. Raises CheckpointError if the checkpoint has none."""
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(self._file(self.MODEL_FILENAME, TuneReportCheckpointCallback.CHECKPOINT_NAME))
        return booster


class RayTrainReportCallback(TuneReportCheckpointCallback):
    """A TuneReportCheckpointCallback that saves only at the end, unless ``frequency`` is stated."""

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        filename: str = TuneReportCheckpointCallback.CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, list[float]]], dict[str, float]] | None = None,
    ) -> None:
        super().__init__(metrics, filename, frequency, checkpoint_at_end, results_postprocessing_fn)


__all__ = ["RayTrainReportCallback", "XGBoostCheckpoint", "XGBoostConfig", "XGBoostTrainer"]
