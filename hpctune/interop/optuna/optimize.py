"""What ``study.optimize(objective, ...)`` does in ``hpctune run``: each trial becomes a job."""

from __future__ import annotations

import contextlib
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import GridSampler

from hpctune.common import unpickling
from hpctune.errors import UsageError
from hpctune.interop.in_script import conclude_call, overrides_of, say_how_many
from hpctune.interop.optuna.mirror import StudyMirror
from hpctune.interop.optuna.objective import SAMPLER, CurrentStudy, StudyObjective
from hpctune.interop.optuna.policy import StudySearch
from hpctune.interop.optuna.replica import Definition
from hpctune.launch.driven import DrivenExperiment
from hpctune.launch.outcome import trial_error
from hpctune.launch.overrides import use
from hpctune.launch.run import run as launch
from hpctune.model.trial import Phase
from hpctune.run_config import RunConfig
from hpctune.stopper import NoopStopper
from hpctune.storage import permissions, values
from hpctune.tune_config import TuneConfig
from hpctune.tuner import Tuner
from hpctune.worker.context import is_session_enabled

_original = optuna.Study.optimize


@contextlib.contextmanager
def installed() -> Iterator[Optimizer]:
    """While this lasts, ``Study.optimize`` runs its trials as jobs."""
    optimizer = Optimizer()

    def optimize(study: optuna.Study, *args: Any, **kwargs: Any) -> None:
        if is_session_enabled():  # a study in a trial is the trial's own
            _original(study, *args, **kwargs)
        else:
            optimizer(study, *args, **kwargs)

    optuna.Study.optimize = optimize  # type: ignore[method-assign, assignment]
    try:
        yield optimizer
    finally:
        optuna.Study.optimize = _original  # type: ignore[method-assign]


class Optimizer:
    """Runs ``optimize`` calls of one script. ``calls``: how many there were."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self,
        study: optuna.Study,
        func: Callable[..., Any],
        n_trials: int | None = None,
        timeout: float | None = None,
        n_jobs: int = 1,
        catch: Iterable[type[Exception]] | type[Exception] = (),
        callbacks: Iterable[Callable[..., None]] | None = None,
        gc_after_trial: bool = False,
        show_progress_bar: bool = False,
    ) -> None:
        """Run the trials, complete the study, and raise the error of a trial that is not caught."""
        self.calls += 1
        if n_trials is not None and (not isinstance(n_trials, int) or n_trials < 0):
            raise UsageError(f"n_trials must be a whole number or None, not {n_trials!r}.")
        if n_trials == 0:
            return
        overrides = overrides_of(
            self.calls,
            "An Optuna objective chooses its parameters itself",
            "Fix a parameter with optuna.samplers.PartialFixedSampler, or try a point with study.enqueue_trial({...}).",
        )
        caught = tuple(catch) if isinstance(catch, Iterable) else (catch,)
        search = StudySearch(Definition.of(study, secrets.token_hex(8)), timeout)
        mirror = StudyMirror(study, search, list(callbacks or ()))
        name = _name_of(func) + (f"-{self.calls}" if self.calls > 1 else "")
        objective = StudyObjective(func, search.definition, caught, name)
        tuner = _tuner(objective, search, mirror, n_trials, None if n_jobs in (1, -1) else n_jobs)
        if n_jobs == 1:
            say_how_many(overrides, "Optuna does with n_jobs=1")
        with use(overrides), _studies_travel_as_copies(study):
            driven = launch([tuner.experiment()], tuner.options())[0]
        _finish(driven, study, search, mirror)


def _tuner(
    objective: StudyObjective, search: StudySearch, mirror: StudyMirror, n_trials: int | None, at_once: int | None
) -> Tuner:
    definition = search.definition
    single = len(definition.directions) == 1
    if n_trials is None and isinstance(definition.sampler, GridSampler):
        n_trials = len(definition.sampler._all_grids)
    mode = ("max" if definition.directions[0].name == "MAXIMIZE" else "min") if single else None
    return Tuner(
        objective,
        tune_config=TuneConfig(
            metric=definition.values[0] if single else None,
            mode=mode,
            search_alg=search,
            num_samples=-1 if n_trials is None else n_trials,
            max_concurrent_trials=at_once,
            chdir_to_trial_dir=False,
        ),
        run_config=RunConfig(callbacks=[mirror], stop=None if search.timeout is None else NoopStopper()),
    )


def _name_of(func: Any) -> str:
    """A name for the experiment: the objective's, else the script's."""
    while isinstance(func, partial):
        func = func.func
    name = getattr(func, "__name__", type(func).__name__)
    if name == "<lambda>":
        name = Path(sys.argv[0] or "objective").stem
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "objective"


def _finish(driven: DrivenExperiment, study: optuna.Study, search: StudySearch, mirror: StudyMirror) -> None:
    """Complete the user's study. Raises EndOfScript if the driver was told to leave: the study is not complete then."""
    mirror.catch_up()
    conclude_call(driven)
    _hand_back(driven, study, search)
    failed = next((trial for trial in driven.trials if trial.value.phase is Phase.ERROR), None)
    if failed is not None and failed.value.error is not None:
        raise trial_error(failed.value.name, failed.value.error)


def _hand_back(driven: DrivenExperiment, study: optuna.Study, search: StudySearch) -> None:
    """Let the user's sampler go on where that of the last trial has stopped."""
    last = search.policy.last_alone if search.policy is not None else None
    if not last:
        return
    path = driven.paths.trial(driven.driver.state.trials[last].dirname).root / SAMPLER
    if permissions.exists(str(path)):
        vars(study.sampler).update(vars(unpickling.loads(values.trusted_bytes(path))))


@contextlib.contextmanager
def _studies_travel_as_copies(study: optuna.Study) -> Iterator[None]:
    """While this lasts, a pickle that refers to ``study`` refers to the copy that a job has.

    An objective may name the study as a global. Its storage would be opened in each job otherwise.
    """

    def reduced(self: optuna.Study, protocol: Any) -> Any:
        travels = self is study and protocol > 4  # copy.deepcopy asks with 4
        return (CurrentStudy, ()) if travels else object.__reduce_ex__(self, protocol)

    optuna.Study.__reduce_ex__ = reduced  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        del optuna.Study.__reduce_ex__
