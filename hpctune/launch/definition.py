"""``Experiment``: the definition of one search by a user."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpctune.common import env
from hpctune.common.checks import as_whole
from hpctune.common.text import nearest
from hpctune.errors import UsageError
from hpctune.launch import arguments, older as older_arguments
from hpctune.launch.trainables import (
    as_trainable,
    register_trainable,
    requested_resources,
    trainable_name,
)
from hpctune.mirror.options import MirrorOptions, as_text, is_elsewhere
from hpctune.model.budget import Budget
from hpctune.output.loggers.classes import logger_callbacks
from hpctune.run_config import CheckpointConfig
from hpctune.stopper import NoopStopper, Stopper, split_stop
from hpctune.syncer import mirror_options
from hpctune.trial import Trial
from hpctune.worker import is_class_trainable

_RENAMED = {"trial_resources": "resources_per_trial", "time_budget": "time_budget_s"}
"""Older names of keys in an experiment's dict."""


class Experiment:
    """The definition of one search. All values are checked at construction.

    Args:
        name: The experiment's directory name. None: the trainable's name with date and time.
        run: What to tune: a function, a class derived from Trainable, or a registered name.
        stop: A dict of thresholds, a Stopper, a function (trial_id, result) -> bool, or a list of these.
        time_budget_s: Seconds (or a timedelta) of driven time after which the experiment stops.
        budget: How many hours the jobs may hold: "200gpuh", "5000cpuh", "40nodeh" or "1000billing".
        config: The search space.
        resources_per_trial: A dict such as ``{"cpu": 2, "gpu": 1}`` or a PlacementGroupFactory.
        num_samples: The number of samples of the space (default 1); -1: no limit.
        storage_path: The directory of all experiments (``local_dir`` is its older name). A URL, such as
            ``s3://bucket/dir``, or a path on ``storage_filesystem`` (of fsspec or pyarrow): the place of a copy of each
            experiment, which itself is in the default directory. ``sync_config`` says how the copy is made.
        checkpoint_config: A CheckpointConfig, or a dict of its fields. ``checkpoint_freq``, ``checkpoint_at_end``,
            ``keep_checkpoints_num`` and ``checkpoint_score_attr`` are older names of its fields.
        trial_name_creator, trial_dirname_creator: Functions from a Trial to its name; and to its directory's name.
        log_to_file: Names of the trials' output files.
        export_formats: The formats that class trainables export when they end.
        max_failures: How often a failed trial is tried again (default 0); -1: no limit.
        restore: The checkpoint directory from which every trial starts.
        loggers: Classes derived from ``hpctune.logger.Logger``; ``callbacks`` of a run are their newer form.
        older: ``upload_dir``, ``sync_to_cloud``, ``sync_to_driver``, ``sync_on_checkpoint``: older forms of
            ``sync_config``.

    Raises:
        UsageError: (a ValueError) for an impossible value.
        TrainableError: if ``run`` cannot be tuned.
    """

    def __init__(
        self,
        name: str | None,
        run: Any,
        *,
        stop: Any = None,
        time_budget_s: Any = None,
        config: Mapping[str, Any] | None = None,
        resources_per_trial: Any = None,
        num_samples: int = 1,
        storage_path: str | os.PathLike[str] | None = None,
        storage_filesystem: Any = None,
        sync_config: Any = None,
        checkpoint_config: CheckpointConfig | Mapping[str, Any] | None = None,
        trial_name_creator: Callable[[Trial], str] | None = None,
        trial_dirname_creator: Callable[[Trial], str] | None = None,
        log_to_file: Any = False,
        export_formats: Sequence[str] | None = None,
        max_failures: int = 0,
        restore: Any = None,
        budget: str | None = None,
        local_dir: str | os.PathLike[str] | None = None,
        checkpoint_freq: int | None = None,
        checkpoint_at_end: bool | None = None,
        keep_checkpoints_num: int | None = None,
        checkpoint_score_attr: str | None = None,
        loggers: Sequence[Any] | None = None,
        **older: Any,
    ) -> None:
        older_arguments.check("Experiment", older, older_arguments.SYNC, inspect.signature(Experiment).parameters)
        sync_config = older_arguments.with_sync(sync_config, older)
        storage_path = as_text(storage_path) if isinstance(storage_path, (str, os.PathLike)) else storage_path
        self.mirror = mirror_options(sync_config, storage_path, storage_filesystem)
        if is_elsewhere(storage_path) or storage_filesystem is not None:
            storage_path = None  # the experiment itself is in the default directory
        self.name = None if name is None else arguments.checked_name(name)
        self.run = run
        self.trainable = as_trainable(run)
        self.trainable_name = trainable_name(run)
        self.config = arguments.search_space(config)
        self.criteria, self.driver_stopper = split_stop(stop)
        self.time_budget_s = arguments.seconds(time_budget_s)
        self.budget = Budget.parse(budget)
        self.num_samples = as_whole("num_samples", num_samples)
        self._storage = arguments.storage_path(storage_path, local_dir)
        self.resources = requested_resources(self.trainable, arguments.resource_request(resources_per_trial))
        older = {
            "checkpoint_freq": checkpoint_freq,
            "checkpoint_at_end": checkpoint_at_end,
            "keep_checkpoints_num": keep_checkpoints_num,
            "checkpoint_score_attr": checkpoint_score_attr,
        }
        self.checkpoint_config = arguments.checkpoint_config(checkpoint_config, **older)
        self.trial_name_creator = _creator("trial_name_creator", trial_name_creator)
        self.trial_dirname_creator = _creator("trial_dirname_creator", trial_dirname_creator)
        self.log_files = arguments.log_files(log_to_file)
        self.export_formats = arguments.export_formats(export_formats)
        self.max_failures = max_failures
        self.restore = arguments.restore_path(restore)
        self.loggers = logger_callbacks(loggers)
        self._check_fits_trainable()

    def _check_fits_trainable(self) -> None:
        """Raise UsageError if options are set that only class trainables support."""
        if is_class_trainable(self.trainable):
            return
        config = self.checkpoint_config
        asked = {
            "checkpoint_frequency (checkpoint_freq)": config.checkpoint_frequency,
            "checkpoint_at_end": config.checkpoint_at_end,
            "export_formats": self.export_formats,
        }
        for name, value in asked.items():
            if value:
                raise UsageError(
                    f"{name} is only for class trainables, and {self.trainable_name} is a function. Remove it; a "
                    "function saves checkpoints itself, with hpctune.report(metrics, checkpoint=...)."
                )

    @classmethod
    def from_json(cls, name: str, spec: Mapping[str, Any]) -> Experiment:
        """The experiment that a dict defines: ``{"run": ..., "stop": ..., "config": ..., ...}``.

        Raises UsageError if there is no "run", and for unknown keys.
        """
        given = {_RENAMED.get(key, key): value for key, value in spec.items()}
        if "run" not in given:
            raise UsageError(f"Experiment {name!r} has no 'run'. Set it to the trainable, or to its registered name.")
        if "env" in given:  # scripts for reinforcement learning have it here
            given["config"] = {**(given.get("config") or {}), "env": given.pop("env")}
        valid = [p for p in inspect.signature(cls).parameters if p not in ("name", "older")]
        valid += older_arguments.SYNC
        for key in given:
            if key not in valid:
                hint = nearest(key, valid)
                raise UsageError(
                    f"Experiment {name!r} has an unknown key {key!r}. {hint}Valid are: {', '.join(valid)}."
                )
        return cls(name, **given)

    @classmethod
    def get_trainable_name(cls, run_object: Any) -> str:
        """The name under which ``run_object`` runs. Raises TrainableError if it is not a trainable."""
        return trainable_name(run_object)

    @classmethod
    def register_if_needed(cls, run_object: Any) -> str:
        """Register a function or class under its name and return the name. A name is returned unchanged."""
        name = trainable_name(run_object)
        if not isinstance(run_object, str):
            register_trainable(name, as_trainable(run_object))
        return name

    @property
    def stopper(self) -> Stopper:
        """The stopper that the driver calls with each result, in addition to the thresholds."""
        return self.driver_stopper or NoopStopper()

    @property
    def storage(self) -> Path:
        """The absolute directory of all experiments: the given one, else that of the environment."""
        return self.storage_in(None, env.settings().result_dir)

    def storage_in(self, override: str | None, default: Path) -> Path:
        """The same, with the ``override`` of the command line and the ``default`` of the environment as arguments."""
        own = None if is_elsewhere(override) else arguments.storage_path(override)
        return own or self._storage or default.absolute()

    def mirror_in(self, override: str | None) -> MirrorOptions | None:
        """Where the experiment is copied to, with the ``override`` of the command line for its storage path."""
        folder = (self.name or "").rpartition("/")[0]
        mirror = self.mirror
        if is_elsewhere(override):
            mirror = replace(mirror or MirrorOptions(place=str(override)), place=str(override), filesystem=None)
        return replace(mirror, place=mirror.of(folder)) if mirror is not None and folder else mirror

    @property
    def path(self) -> str | None:
        """The experiment's directory; None while it has no name."""
        return str(self.storage / self.name) if self.name is not None else None

    local_path = checkpoint_dir = path

    @property
    def local_dir(self) -> str:
        """The parent of the experiment's directory."""
        return str(self.storage)

    @property
    def remote_path(self) -> None:
        """None: there is no remote storage."""
        return

    @property
    def run_identifier(self) -> str:
        """The trainable's name."""
        return self.trainable_name

    @property
    def public_spec(self) -> dict[str, Any]:
        """The public part of the definition: stop criteria, samples, time budget."""
        return {"stop": dict(self.criteria), "num_samples": self.num_samples, "time_budget_s": self.time_budget_s}

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, {self.trainable_name!r}, num_samples={self.num_samples})"


def convert_to_experiment_list(experiments: Any) -> list[Experiment]:
    """Make a list from an Experiment, a dict of name -> dict or Experiment, or a list of these. Raises UsageError."""
    if experiments is None:
        return []
    if isinstance(experiments, Experiment):
        return [experiments]
    if isinstance(experiments, Mapping):
        return [
            spec if isinstance(spec, Experiment) else Experiment.from_json(name, spec)
            for name, spec in experiments.items()
        ]
    if isinstance(experiments, (list, tuple)):
        return [experiment for each in experiments for experiment in convert_to_experiment_list(each)]
    raise UsageError(f"Expected an Experiment, a dict of name -> definition, or a list of these, not {experiments!r}.")


def _creator(name: str, function: Any) -> Any:
    if function is not None and not callable(function):
        raise UsageError(f"{name} must be a function from a Trial to a string, not {function!r}.")
    return function
