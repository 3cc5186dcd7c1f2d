"""``DataParallelTrainer``: a training function that runs in every process of a trial."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self

from hpctune.analysis.result import Result
from hpctune.checkpoint import Checkpoint
from hpctune.errors import NotYetSupportedError, TrainableError, TuneError, UsageError
from hpctune.launch.definition import Experiment
from hpctune.model.resources import PlacementGroupFactory
from hpctune.run_config import RunConfig
from hpctune.train.backend import BackendConfig
from hpctune.train.scaling import ScalingConfig
from hpctune.worker import get_trial_id
from hpctune.worker.ranks.session import current_rank
from hpctune.worker.ranks.trainable import DistributedTrainable

_LOOP, _SCALING = "train_loop_config", "scaling_config"


class TrainingFailedError(TuneError):
    """A training failed."""


class DataParallelTrainer:
    """Run ``train_loop_per_worker`` in all processes of a trial: by :meth:`fit` once, by ``Tuner(trainer)`` for each
    point of a search space. Every process calls ``report`` equally often; the result is that of the first, and the
    checkpoint has the files of all that give one.

    Args:
        train_loop_per_worker: A function of the configuration, or of nothing.
        train_loop_config: The configuration. That of a Tuner's ``param_space={"train_loop_config": {...}}`` is laid
            over it.
        backend_config: What is set up in each process.
        scaling_config: How many processes, and their resources.
        run_config: Options of the run, also for a Tuner that has none.
        resume_from_checkpoint: What ``get_checkpoint()`` returns until the trial has a checkpoint of its own.
    """

    _backend: ClassVar[type[BackendConfig]] = BackendConfig

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        backend_config: BackendConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        dataset_config: Any = None,
        run_config: RunConfig | None = None,
        datasets: Any = None,
        metadata: Any = None,
        resume_from_checkpoint: Checkpoint | None = None,
    ) -> None:
        me = type(self).__name__
        if datasets or dataset_config:
            raise NotYetSupportedError(f"{me}(datasets=...): Ray Data is not here. Load the data in the function.")
        if metadata:
            raise NotYetSupportedError(f"{me}(metadata=...): put it into train_loop_config.")
        for name, value, kind in (
            ("train_loop_config", train_loop_config, Mapping), ("backend_config", backend_config, BackendConfig),
            (_SCALING, scaling_config, ScalingConfig), ("run_config", run_config, RunConfig),
            ("resume_from_checkpoint", resume_from_checkpoint, Checkpoint),
        ):  # fmt: skip
            if value is not None and not isinstance(value, kind):
                raise UsageError(f"{me}({name}=...) must be a {kind.__name__}, not {value!r}.")
        if resume_from_checkpoint is not None and not Path(resume_from_checkpoint.path).is_dir():
            raise UsageError(f"{me}(resume_from_checkpoint=...): there is no {resume_from_checkpoint.path}.")
        self.train_loop_per_worker = train_loop_per_worker
        self.train_loop_config = dict(train_loop_config or {})
        self.backend_config = backend_config if backend_config is not None else self._backend()
        self.scaling_config = scaling_config if scaling_config is not None else ScalingConfig()
        self.run_config = run_config
        self.resume_from_checkpoint = resume_from_checkpoint
        self._restored: str | None = None
        _Request(self.scaling_config)({})
        self.as_trainable()

    @classmethod
    def restore(cls, path: str | os.PathLike[str], train_loop_per_worker: Callable[..., Any], **arguments: Any) -> Self:
        """A trainer that goes on, when :meth:`fit` is called, with the unfinished or failed run in ``path``.

        Args:
            path: The experiment's directory.
            train_loop_per_worker: The function.
            arguments: The other arguments that the trainer was made with.
        """
        trainer = cls(train_loop_per_worker, **arguments)
        trainer._restored = os.fspath(path)
        return trainer

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str]) -> bool:
        """Whether ``path`` contains an experiment."""
        from hpctune.tuner import Tuner

        return Tuner.can_restore(path)

    def fit(self) -> Result:
        """Train once, as the only trial of an experiment.

        Raises:
            TrainingFailedError: if the training failed.
        """
        from hpctune.tuner import Tuner

        path = self._restored or self._interrupted()
        tuner = Tuner(self) if path is None else Tuner.restore(path, self, resume_errored=True)
        results = tuner.fit()
        if results.errors:
            raise TrainingFailedError(f"The training failed: {results.errors[0]}") from results.errors[0]
        return results[0]

    def _interrupted(self) -> str | None:
        """Inside a trial, and with its id in the name of the run: what an earlier attempt of the trial has begun."""
        trial_id, run = get_trial_id(), self.run_config
        if trial_id is None or run is None or not run.name or trial_id not in run.name:
            return None
        path = Experiment(run.name, self.as_trainable(), storage_path=run.storage_path).path
        return path if path is not None and self.can_restore(path) else None

    def as_trainable(self) -> DistributedTrainable:
        """The trainable that a Tuner runs."""
        backend, resumed = self.backend_config, self.resume_from_checkpoint
        path = None if resumed is None else str(Path(resumed.path).absolute())
        return DistributedTrainable(
            _Loop(self.train_loop_per_worker, self.train_loop_config, path, type(self).__name__),
            _Request(self.scaling_config),
            backend=backend,
            timeout_s=backend.timeout_s,
            together=True,
        )

    def as_param_space(self, param_space: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """``param_space`` of a Tuner, checked, with a ScalingConfig as a dict. Raises UsageError."""
        if param_space is None:
            return None
        unknown = sorted(set(param_space) - {_LOOP, _SCALING})
        if unknown:
            raise UsageError(
                f"param_space of a {type(self).__name__} has {unknown[0]!r}. What its function gets is "
                f"param_space={{'train_loop_config': {{...}}}}; besides that there is only 'scaling_config'."
            )
        scaling = param_space.get(_SCALING)
        if isinstance(scaling, ScalingConfig):
            default = ScalingConfig()
            given = {f.name: getattr(scaling, f.name) for f in fields(scaling)}
            changed = {name: value for name, value in given.items() if value != getattr(default, name)}
            return {**param_space, _SCALING: changed}
        return param_space


class _Loop:
    """The function of each process: the user's, with the configuration of the trainer below that of the trial."""

    def __init__(self, function: Callable[..., Any], config: Mapping[str, Any], resumed: str | None, name: str) -> None:
        if not callable(function):
            raise TrainableError(f"train_loop_per_worker must be a function, not {function!r}.")
        self._takes_config = bool(inspect.signature(function).parameters)
        try:
            inspect.signature(function).bind(*([{}] if self._takes_config else []))
        except TypeError as error:
            raise TrainableError(
                f"train_loop_per_worker is a function of the configuration, or of nothing: {error}."
            ) from error
        self._function, self._config, self._resumed, self.__name__ = function, config, resumed, name

    def __call__(self, config: Mapping[str, Any]) -> None:
        rank = current_rank()
        if self._resumed is not None and rank is not None and rank.newest_checkpoint is None:
            rank.newest_checkpoint = Path(self._resumed)
        self._function(*([{**self._config, **config.get(_LOOP, {})}] if self._takes_config else []))


class _Request:
    """The resources of a trial: one bundle for each process. ``trainer_resources`` come in addition in the first, as
    the trial's own process runs beside rank 0; by default it needs nothing that would count."""

    def __init__(self, scaling: ScalingConfig) -> None:
        self._scaling = scaling

    def __call__(self, config: Mapping[str, Any]) -> PlacementGroupFactory:
        given = config.get(_SCALING, {})
        own = {f.name: getattr(self._scaling, f.name) for f in fields(ScalingConfig)}
        try:
            scaling = ScalingConfig(**{**own, **given})
        except TypeError as error:
            raise UsageError(f"param_space['scaling_config'] is {given!r}: {error}.") from error
        return scaling.bundles_of_ranks()
