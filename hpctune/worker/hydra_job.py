"""``HydraJob``: a trial that is a job of a Hydra multirun."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpctune.errors import TrainableError
from hpctune.worker.context import get_trial_id

RETURNED = "value"
"""The name of what the task function returns, if it has no other."""


@dataclass
class HydraJob:
    """Calls the task function as Hydra's own launchers do: in the job's directory of the multirun, with callbacks.

    - ``task_function``, ``hydra_context``, ``config``, ``state``: what Hydra gives to a launcher.
    - ``order``: the names of all overrides. ``fixed``: those that all trials have. ``keys``: the key of each parameter.
    - ``metrics``: the names of what the task function returns.
    """

    task_function: Any
    hydra_context: Any
    config: Any
    state: Any
    order: tuple[str, ...]
    fixed: Mapping[str, str]
    keys: Mapping[str, str]
    metrics: tuple[str, ...]
    cwd: str

    @property
    def __name__(self) -> str:
        return str(getattr(self.task_function, "__name__", "job"))

    def overrides(self, config: Mapping[str, Any]) -> list[str]:
        """The overrides of a trial."""
        return [
            self.fixed[name] if name in self.fixed else f"{self.keys[name]}={text_of(config[name])}"
            for name in self.order
        ]

    def __call__(self, config: dict[str, Any]) -> dict[str, Any] | None:
        from hydra.core.singleton import Singleton
        from hydra.core.utils import run_job, setup_globals
        from omegaconf import open_dict

        Singleton.set_state(self.state)
        setup_globals()
        os.chdir(self.cwd)
        composed = self.hydra_context.config_loader.load_sweep_config(self.config, self.overrides(config))
        trial_id = get_trial_id() or "0"
        with open_dict(composed):
            composed.hydra.job.id = os.environ.get("SLURM_JOB_ID") or trial_id
            composed.hydra.job.num = int(trial_id.rpartition("_")[2])
        done = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=composed,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        return self._result(done.return_value)

    def _result(self, value: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        if isinstance(value, Mapping):
            return dict(value)
        values = value if len(self.metrics) > 1 and isinstance(value, (tuple, list)) else [value]
        try:
            numbers = [float(each) for each in values]
        except (TypeError, ValueError, RuntimeError):
            numbers = []
        if len(numbers) != len(self.metrics):
            wanted = "no number" if len(self.metrics) == 1 else f"not a number for each of {', '.join(self.metrics)}"
            raise TrainableError(
                f"The task function returned {value!r}, which is {wanted}. Return the metric (of several a tuple), a "
                f"dict of metrics, or nothing."
            )
        return {name: math.nan if each != each else each for name, each in zip(self.metrics, numbers, strict=True)}


def text_of(value: Any) -> str:
    """A value as Hydra's grammar reads it. Texts are in it already."""
    if value is None:
        return "null"
    return repr(value) if isinstance(value, float) else str(value)
