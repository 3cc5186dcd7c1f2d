"""A multirun of Hydra as a search: what the sweeper plugin does."""

from __future__ import annotations

import logging
import math
import os
import shlex
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpctune.cluster.options import LocalOptions
from hpctune.common.checks import is_number
from hpctune.errors import UsageError
from hpctune.interop.hydra_launcher import options_of
from hpctune.interop.hydra_space import HydraSpace, from_search_space, space_of
from hpctune.model.ranking import front
from hpctune.run_config import FailureConfig, RunConfig
from hpctune.schedulers.create import create_scheduler
from hpctune.search.basic_variant import BasicVariantGenerator
from hpctune.search.create import create_searcher
from hpctune.tune_config import TuneConfig
from hpctune.tuner import Tuner
from hpctune.worker.hydra_job import RETURNED, HydraJob

log = logging.getLogger(__name__)
EXPERIMENT = "hpctune"
"""The directory of the experiment in hydra.sweep.dir."""
TRIALS = 20
RESULTS = "optimization_results.yaml"
SAMPLERS = {"TPESampler": "tpe", "RandomSampler": "random", "GridSampler": "grid", "GPSampler": "gp"}
"""Samplers of Optuna, and the searcher of hpctune in their place."""
SAMPLER_OPTIONS = {"seed": "seed", "n_startup_trials": "n_initial_points"}
"""Options of these samplers that hold."""
VALIDATED = 100
"""So many configurations of a grid are composed before the first job."""


def sweep(sweeper: Any, arguments: list[str]) -> Any:
    """Run the multirun of a sweeper plugin; returns the ResultGrid. Raises HydraException for what cannot be."""
    from hydra.errors import CompactHydraException

    try:
        return _Multirun(sweeper, arguments).run()
    except UsageError as error:
        raise CompactHydraException(str(error)) from error


class _Multirun:
    """One multirun."""

    def __init__(self, sweeper: Any, arguments: list[str]) -> None:
        self.sweeper, self.config = sweeper, sweeper.config
        self.options = {name: _plain(value) for name, value in sweeper.options.items()}
        self.directory = Path(str(self.config.hydra.sweep.dir)).absolute()
        params = dict(self.options["params"] or {})
        if self.options["search_space"]:
            params = {**from_search_space(self.options["search_space"]), **params}
        self.space: HydraSpace = space_of(params, arguments, sweeper.hydra_context.config_loader)
        self.objectives = _objectives(self.options["direction"] or "minimize", self.options["metric"])
        self.has_goal = any(self.options[name] is not None for name in ("metric", "direction", "scheduler"))
        """Whether the value is known to be one: a task function that is only run may return nothing."""
        self._refuse_others()

    @property
    def metrics(self) -> list[str]:
        """The names of what the task function returns."""
        return [metric for metric, _ in self.objectives]

    def _refuse_others(self) -> None:
        if self.options["custom_search_space"] is not None:
            raise UsageError("hydra.sweeper.custom_search_space is for Optuna's trials. Write params instead.")

    def run(self) -> Any:
        """Drive the trials to their end."""
        experiment = self.directory / EXPERIMENT
        going_on = bool(self.options["resume"])
        if experiment.exists() and not going_on:
            raise UsageError(
                f"{self.directory} has a sweep already. Go on with it: hydra.sweeper.resume=true; or choose another "
                f"hydra.sweep.dir."
            )
        if going_on and not experiment.exists():
            raise UsageError(f"{self.directory} has no sweep to go on with. Set hydra.sweep.dir to one that has.")
        tuner = Tuner.restore(str(experiment), self._job(), resume_errored=True) if going_on else self._tuner()
        self._tell_of_storage(experiment)
        results = tuner.fit()
        self._conclude(results)
        return results

    def _tell_of_storage(self, experiment: Path) -> None:
        """Say how the trials come into the database that the configuration names."""
        if self.options["storage"] is None:
            return
        target = self.options["storage"] if isinstance(self.options["storage"], str) else "STORAGE"
        words = ["hpctune", "export", str(experiment), target, "--to", "optuna"]
        if self.options["study_name"] is not None:
            words += ["--name", str(self.options["study_name"])]
        log.warning(
            "hydra.sweeper.storage: the trials are not written into a database while the sweep runs, and trials of an "
            "earlier study are not used. To write them into it now or later: %s", shlex.join(words),
        )  # fmt: skip

    def _tuner(self) -> Tuner:
        rows, searcher = self._search()
        cluster, slurm, at_a_time = options_of(_plain(self.config.hydra.launcher) or {})
        own = _plain(self.options["slurm"]) or {}
        cluster, slurm, workers = self.options["cluster"] or cluster, {**slurm, **own}, self.options["workers"]
        if cluster in ("local", "debug"):
            if own:
                log.warning("hydra.sweeper.slurm has no effect on the cluster '%s'.", cluster)
            slurm = {}
        elif workers is not None:
            slurm["workers"] = workers
        has_goal = self.has_goal or (rows is None and searcher is not None)
        samples = len(rows) if rows is not None else int(self.options["n_trials"] or TRIALS)
        self._save()
        return Tuner(
            self._job(),
            param_space=self.space.space(),
            tune_config=TuneConfig(
                metric=_one_or_all(self.metrics) if has_goal else None,
                mode=_one_or_all([mode for _, mode in self.objectives]) if has_goal else None,
                num_samples=samples,
                search_alg=searcher,
                scheduler=self._scheduler(),
                max_concurrent_trials=self.options["n_jobs"] or at_a_time,
                chdir_to_trial_dir=False,
            ),
            run_config=RunConfig(
                name=EXPERIMENT,
                storage_path=str(self.directory),
                failure_config=FailureConfig(max_failures=self.options["max_failures"]),
            ),
            cluster=LocalOptions(workers=workers) if cluster == "local" and workers is not None else cluster,
            slurm=slurm or None,
        )

    def _search(self) -> tuple[list[dict[str, Any]] | None, Any]:
        """The configurations of a grid, or None; and what gives the configurations."""
        name, options = self._sampler()
        if name is None:
            name = "tpe" if self.space.domains or self.options["n_trials"] else "grid"
        if name == "grid":
            rows = self.space.rows()[: self.options["n_trials"]]
            texts = [self._job().overrides(row) for row in rows[:VALIDATED]]
            self.sweeper.validate_batch_is_legal(texts)
            return rows, BasicVariantGenerator(points_to_evaluate=rows)
        if len(self.objectives) > 1 and name in SAMPLERS.values():
            name = "optuna" if find_spec("optuna") else "random"
            options = {key: value for key, value in options.items() if key == "seed"}
        if name == "random":
            return None, BasicVariantGenerator(random_state=options.get("seed"))
        return None, create_searcher(name, **options)

    def _sampler(self) -> tuple[str | None, dict[str, Any]]:
        """The searcher's name, if one is said, and its options."""
        given, seed = self.options["sampler"], self.options["seed"]
        options = {} if seed is None else {"seed": seed}
        if not isinstance(given, Mapping):
            return given, options
        if "_target_" not in given:
            title = None
        elif (title := str(given["_target_"]).rpartition(".")[2]) not in SAMPLERS:
            raise UsageError(
                f"hydra.sweeper.sampler: there is none like {title!r} here. Name one of ours: tpe, gp, "
                f"random, grid, ...; known of Optuna's: {', '.join(SAMPLERS)}."
            )
        same = {ours: given[theirs] for theirs, ours in SAMPLER_OPTIONS.items() if given.get(theirs) is not None}
        return SAMPLERS[title] if title else None, {**same, **options}

    def _scheduler(self) -> Any:
        given = self.options["scheduler"]
        if not isinstance(given, Mapping):
            return given
        if not isinstance(given.get("name"), str):
            raise UsageError(f"hydra.sweeper.scheduler needs a name: {{name: asha, max_t: 20}}; not {dict(given)!r}.")
        return create_scheduler(given["name"], **{key: value for key, value in given.items() if key != "name"})

    def _job(self) -> HydraJob:
        from hydra.core.singleton import Singleton

        sweeper = self.sweeper
        return HydraJob(
            sweeper.task_function, sweeper.hydra_context, self.config, Singleton.get_state(),
            tuple(self.space.order), self.space.fixed, self.space.keys, tuple(self.metrics), str(Path.cwd()),
        )  # fmt: skip

    def _save(self) -> None:
        """What Hydra's own sweeper writes before its first job."""
        from omegaconf import OmegaConf

        self.directory.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, self.directory / "multirun.yaml")

    def _params(self, result: Any) -> dict[str, Any]:
        return {self.space.keys.get(name, name): value for name, value in (result.config or {}).items()}

    def _values(self, result: Any) -> list[Any]:
        return [(result.metrics or {}).get(name) for name in self.metrics]

    def _conclude(self, results: Any) -> None:
        """Write the best, and say what failed."""
        from omegaconf import OmegaConf

        errors = [result for result in results if result.error is not None]
        for result in errors:
            log.warning("Failed: %s: %s", result.config, str(result.error).strip().splitlines()[-1])
        share, limit = len(errors) / max(len(results), 1), self.options["max_failure_rate"]
        sound = [result for result in results if all(is_number(v) and math.isfinite(v) for v in self._values(result))]
        points = [tuple(self._values(result)) for result in sound]
        best = [sound[n] for n in front(points, [mode for _, mode in self.objectives])]
        if best and len(self.objectives) == 1:
            found = {"name": "hpctune", "best_params": self._params(best[0]), "best_value": self._values(best[0])[0]}
            OmegaConf.save(OmegaConf.create(found), self.directory / RESULTS)
            log.info("Best: %s=%s by %s", self.metrics[0], found["best_value"], found["best_params"])
        elif best:
            solutions = [{"params": self._params(one), "values": self._values(one)} for one in best]
            OmegaConf.save(OmegaConf.create({"name": "hpctune", "solutions": solutions}), self.directory / RESULTS)
            log.info("Pareto front of %s: %s trials, in %s", ", ".join(self.metrics), len(best), RESULTS)
        if errors and (share == 1 or (limit is not None and share > limit)):
            raise UsageError(
                f"{len(errors)} of {len(results)} trials failed. See: hpctune status "
                f"{os.path.relpath(self.directory / EXPERIMENT)}"
            )


def _objectives(direction: Any, metric: Any) -> list[tuple[str, str]]:
    """The metrics with their modes. Raises UsageError if there are not as many of one as of the other."""
    modes = [_mode(each) for each in (direction if isinstance(direction, list) else [direction])]
    usual = RETURNED if len(modes) == 1 else [f"{RETURNED}_{n}" for n in range(len(modes))]
    given = metric or usual
    metrics = given if isinstance(given, list) else [given]
    if len(metrics) != len(modes):
        raise UsageError(f"hydra.sweeper has {len(metrics)} metric and {len(modes)} direction. Give one for each.")
    return [*zip(metrics, modes, strict=True)]


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _mode(direction: Any) -> str:
    name = str(getattr(direction, "name", direction))
    modes = {"minimize": "min", "maximize": "max", "min": "min", "max": "max"}
    if name not in modes:
        raise UsageError(f"hydra.sweeper.direction is minimize or maximize, or a list of these; not {direction!r}.")
    return modes[name]


def _plain(value: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
