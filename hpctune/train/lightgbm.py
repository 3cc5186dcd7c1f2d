"""``LightGBMTrainer`` and what its function uses, with the names of Ray Train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from hpctune.integration.lightgbm import TuneReportCheckpointCallback
from hpctune.train.backend import BackendConfig
from hpctune.train.boosting import BoostingTrainer
from hpctune.train.model_checkpoint import ModelCheckpoint
from hpctune.worker.ranks.session import current_rank
from hpctune.worker.ranks.trainable import TIMEOUT_S


@dataclass
class LightGBMConfig(BackendConfig):
    """The processes of a trial find each other by :func:`get_network_params`.

    ``timeout_s``: seconds that the processes wait for each other to report.
    """

    timeout_s: float = TIMEOUT_S


def get_network_params() -> dict[str, Any]:
    """Parameters for ``lightgbm.train`` by which the processes of this trial train together; empty in a single one."""
    rank = current_rank()
    if rank is None or rank.world.size == 1:
        return {}
    own = rank.world.addresses[rank.world.rank]
    return {
        "machines": ",".join(rank.world.addresses),
        "local_listen_port": int(own.rpartition(":")[2]),
        "num_machines": rank.world.size,
        "pre_partition": True,
    }


class LightGBMTrainer(BoostingTrainer):
    """A :class:`DataParallelTrainer` whose function calls ``lightgbm.train`` with the data of its process, and with
    the parameters of :func:`get_network_params`.

    Args:
        train_loop_per_worker: A function of the configuration, or of nothing.
        lightgbm_config: How long the processes wait for each other.
        arguments: Those of DataParallelTrainer.
    """

    _backend = LightGBMConfig

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any] | None = None,
        *,
        lightgbm_config: LightGBMConfig | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(train_loop_per_worker, backend_config=lightgbm_config, **arguments)


class LightGBMCheckpoint(ModelCheckpoint):
    """A checkpoint with a model of LightGBM, in the file ``model.txt``."""

    MODEL_FILENAME: ClassVar[str] = "model.txt"

    @classmethod
    def from_model(cls, booster: Any, *, preprocessor: Any = None) -> Self:
        """One with a Booster, or a model with its interface of scikit-learn."""
        model = getattr(booster, "booster_", booster)
        return cls._with(lambda directory: model.save_model(directory / cls.MODEL_FILENAME), preprocessor)

    def get_model(self) -> Any:
        """The Booster. Raises CheckpointError if the checkpoint has none."""
        import lightgbm

        return lightgbm.Booster(model_file=str(self._file(self.MODEL_FILENAME)))


class RayTrainReportCallback(TuneReportCheckpointCallback):
    """A TuneReportCheckpointCallback that saves only at the end, unless ``frequency`` is stated."""

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, str] | None = None,
        filename: str = TuneReportCheckpointCallback.CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, float]], dict[str, float]] | None = None,
    ) -> None:
        super().__init__(metrics, filename, frequency, checkpoint_at_end, results_postprocessing_fn)


__all__ = ["LightGBMCheckpoint", "LightGBMConfig", "LightGBMTrainer", "RayTrainReportCallback", "get_network_params"]
