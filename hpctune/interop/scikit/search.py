"""``TuneGridSearchCV`` and ``TuneSearchCV``: scikit-learn's searches whose candidates are trials."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from joblib import parallel_config
from sklearn.base import is_classifier
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.model_selection._search import BaseSearchCV

from hpctune.errors import TuneError, UsageError
from hpctune.interop.scikit.again import fingerprint_of_calls
from hpctune.interop.scikit.backend import CollectingBackend, run_to_the_end
from hpctune.interop.scikit.candidates import CANDIDATE, Candidate, Fold, growing_estimator
from hpctune.interop.scikit.tasks import kept
from hpctune.run_config import FailureConfig, RunConfig
from hpctune.schedulers import AsyncHyperBandScheduler
from hpctune.search import BasicVariantGenerator
from hpctune.space.domain import Domain
from hpctune.space.functions import choice, grid_search, loguniform, randint, uniform
from hpctune.tune_config import TuneConfig
from hpctune.tuner import Tuner

_WHILE_FITTING = ("_backend", "_classes", "_collecting")
"""Attributes that are there while ``fit`` runs."""


class _Captured(Exception):
    """Ends scikit-learn's loop over candidates as soon as its tasks are known."""


class _SearchBackend(CollectingBackend):
    """Gets the tasks of a search: notes them, or answers them with what trials have found."""

    def __init__(self) -> None:
        super().__init__()
        self.captured: list[Any] = []
        self.answers: list[Any] | None = None

    def run_tasks(self, calls: list[Callable[[], Any]]) -> list[tuple[bool, Any]]:
        if self.answers is None:
            self.captured = [item for call in calls for item in call.items]  # type: ignore[attr-defined]
            raise _Captured
        return [(True, [answer]) for answer in self.answers]


class TuneBaseSearchCV(BaseSearchCV):  # type: ignore[misc]
    """What both searches have in common.

    Args:
        early_stopping: Whether bad candidates end early: True (ASHA), a scheduler's name, or a scheduler. The estimator
            needs ``partial_fit``, or ``warm_start`` with ``n_estimators`` or ``max_iter``; it may be the last of a
            pipeline.
        max_iters: With ``early_stopping``: in how many steps a candidate is fitted.
        cluster, slurm: As of :class:`hpctune.Tuner`.
        name, storage_path: As of :class:`hpctune.RunConfig`.
        resources_per_trial: Of a candidate, as ``{"cpu": 4}``.
        max_concurrent_trials: How many candidates have a job at a time; None: as many as there is room for.
        time_budget_s: Seconds after which the search stops. Candidates that did not end count as failed.
        max_failures: How often a candidate whose job fails is tried again.

    The others are those of ``GridSearchCV`` and ``RandomizedSearchCV``. ``n_jobs`` is for scikit-learn's interface: the
    cluster decides how many candidates run.
    """

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:  # noqa: N803
        """Run the search; then as scikit-learn's searches."""
        self._backend = _SearchBackend()
        self._classes = np.unique(np.asarray(y)) if y is not None and is_classifier(self.estimator) else None
        self._collecting = contextlib.ExitStack()
        try:
            with self._collecting:
                self._collecting.enter_context(parallel_config(backend=self._backend, n_jobs=-1))
                super().fit(X, y, **params)
        finally:
            del self._backend, self._classes, self._collecting
        return self

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _WHILE_FITTING}

    def _space(self) -> tuple[dict[str, Any], list[dict[str, Any]] | None, int]:
        """The search space, the candidates if they are listed, and the number of samples of the space."""
        raise NotImplementedError

    def _searcher(self, rows: list[dict[str, Any]] | None) -> Any:
        return None

    def _run_search(self, evaluate_candidates: Callable[..., Any], **_: Any) -> None:
        self._collecting.close()  # the search has its Parallel; one of the best estimator's own is none of the search
        space, rows, count = self._space()
        folds = self._folds(evaluate_candidates)
        steps = int(self.max_iters or 10) if self.early_stopping else 1
        if self.early_stopping:
            first = rows[0] if rows else {}
            growing_estimator(_clone(folds[0].estimator), first, steps, self._classes)
        candidates, outcomes, reached = self._trials(space, rows, count, folds, steps)
        self._backend.answers = outcomes
        more = {"training_iteration": np.array(reached)} if self.early_stopping else None
        evaluate_candidates(candidates, more_results=more)

    def _folds(self, evaluate_candidates: Callable[..., Any]) -> list[Fold]:
        """The fits of one candidate, as scikit-learn would make them."""
        with contextlib.suppress(_Captured), contextlib.redirect_stdout(io.StringIO()):  # it is one candidate of many
            evaluate_candidates([{}])
        return [Fold(function, args[0], args[1:], kwargs) for function, args, kwargs in self._backend.captured]

    def _trials(
        self, space: dict[str, Any], rows: list[dict[str, Any]] | None, count: int, folds: list[Fold], steps: int
    ) -> tuple[list[dict[str, Any]], list[Any], list[int]]:
        """Run the search. Returns the candidates, their outcomes fold by fold, and the steps that they have reached."""
        names = self._score_names()
        scheduler = self.early_stopping or None
        if scheduler is True:
            scheduler = AsyncHyperBandScheduler(max_t=steps, grace_period=1)
        from hpctune.worker import with_resources

        calls = [(fold.function, (fold.estimator, *fold.args), fold.kwargs) for fold in folds]
        search = fingerprint_of_calls(calls, steps, names, self._classes, rows, str(space))
        trainable: Any = Candidate(folds, steps, names, self._classes, rows, search)
        if self.resources_per_trial is not None:
            trainable = with_resources(trainable, self.resources_per_trial)
        driven = run_to_the_end(
            Tuner(
                trainable,
                param_space=space,
                tune_config=TuneConfig(
                    metric=f"mean_test_{names[0]}", mode="max", num_samples=count, search_alg=self._searcher(rows),
                    scheduler=scheduler, max_concurrent_trials=self.max_concurrent_trials,
                    time_budget_s=self.time_budget_s, chdir_to_trial_dir=False,
                ),
                run_config=RunConfig(
                    name=self.name, storage_path=self.storage_path, verbose=self.verbose or 0,
                    failure_config=FailureConfig(max_failures=self.max_failures),
                ),
                cluster=self.cluster, slurm=self.slurm,
            ),
            search,
        )  # fmt: skip
        candidates, outcomes, reached = [], list[Any](), []
        for trial in sorted(driven.trials, key=lambda trial: trial.value.index):
            config = trial.value.config
            candidates.append(dict(config) if rows is None else rows[config[CANDIDATE]])
            found = kept(trial.paths.root)
            if found is None:
                error = trial.get_error() or TuneError(f"{trial} was stopped before it was fitted")
                if self.error_score == "raise":
                    raise error
                found = [_failed(fold, self.error_score, str(error)) for fold in folds], 0
            outcomes += found[0]
            reached.append(found[1])
        return candidates, outcomes, reached

    def _score_names(self) -> list[str]:
        """The names of the scores, the one that decides first."""
        scoring = self.scoring
        if isinstance(scoring, Mapping):
            names = list(scoring)
        elif isinstance(scoring, (list, tuple, set)):
            names = sorted(scoring)
        elif callable(scoring) and isinstance(self.refit, str):  # it returns several scores
            names = [self.refit]
        else:
            names = ["score"]
        if isinstance(self.refit, str) and self.refit in names:
            names = [self.refit, *(name for name in names if name != self.refit)]
        return names


class TuneGridSearchCV(TuneBaseSearchCV):
    """As ``GridSearchCV``: every candidate is a trial.

    Args:
        estimator, param_grid, scoring, refit, cv, verbose, error_score, return_train_score: As of ``GridSearchCV``.
        Others: see the base class.
    """

    def __init__(
        self,
        estimator: Any,
        param_grid: Any,
        *,
        early_stopping: Any = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
        max_iters: int = 10,
        cluster: Any = None,
        slurm: Any = None,
        name: str | None = None,
        storage_path: Any = None,
        resources_per_trial: Any = None,
        max_concurrent_trials: int | None = None,
        time_budget_s: float | None = None,
        max_failures: int = 0,
    ) -> None:
        super().__init__(
            estimator=estimator, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv, verbose=verbose,
            pre_dispatch=pre_dispatch, error_score=error_score, return_train_score=return_train_score,
        )  # fmt: skip
        self.param_grid, self.early_stopping, self.max_iters = param_grid, early_stopping, max_iters
        self.cluster, self.slurm, self.name, self.storage_path = cluster, slurm, name, storage_path
        self.resources_per_trial, self.max_concurrent_trials = resources_per_trial, max_concurrent_trials
        self.time_budget_s, self.max_failures = time_budget_s, max_failures

    def _space(self) -> tuple[dict[str, Any], list[dict[str, Any]] | None, int]:
        return *_listed(list(ParameterGrid(self.param_grid))), 1


class TuneSearchCV(TuneBaseSearchCV):
    """As ``RandomizedSearchCV``, with every searcher of hpctune: each candidate is a trial.

    Args:
        estimator, scoring, refit, cv, verbose, random_state, error_score, return_train_score: As of
            ``RandomizedSearchCV``.
        param_distributions: By name a list of values, a distribution of scipy, a domain of hpctune
            (``hpctune.loguniform(1e-4, 1)``), or a pair of bounds ``(low, high)``; or, for the random search, a list
            of such dicts.
        n_trials: The number of candidates. ``n_iter``, the name that it has in ``RandomizedSearchCV``, is the same.
        search_optimization: "random" (the default), or a searcher: its name ("tpe", "gp", "optuna", ...) or itself.
        Others: see the base class.
    """

    def __init__(
        self,
        estimator: Any,
        param_distributions: Any,
        *,
        early_stopping: Any = None,
        n_trials: int = 10,
        n_iter: int | None = None,
        search_optimization: Any = "random",
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        max_iters: int = 10,
        cluster: Any = None,
        slurm: Any = None,
        name: str | None = None,
        storage_path: Any = None,
        resources_per_trial: Any = None,
        max_concurrent_trials: int | None = None,
        time_budget_s: float | None = None,
        max_failures: int = 0,
    ) -> None:
        super().__init__(
            estimator=estimator, scoring=scoring, n_jobs=n_jobs, refit=refit, cv=cv, verbose=verbose,
            pre_dispatch=pre_dispatch, error_score=error_score, return_train_score=return_train_score,
        )  # fmt: skip
        self.param_distributions, self.early_stopping, self.max_iters = param_distributions, early_stopping, max_iters
        self.n_trials, self.n_iter = n_trials, n_iter
        self.search_optimization, self.random_state = search_optimization, random_state
        self.cluster, self.slurm, self.name, self.storage_path = cluster, slurm, name, storage_path
        self.resources_per_trial, self.max_concurrent_trials = resources_per_trial, max_concurrent_trials
        self.time_budget_s, self.max_failures = time_budget_s, max_failures

    def _space(self) -> tuple[dict[str, Any], list[dict[str, Any]] | None, int]:
        given, number = self.param_distributions, self.n_trials if self.n_iter is None else self.n_iter
        if self.search_optimization == "random" and not _has_domains(given):
            return *_listed(list(ParameterSampler(given, number, random_state=self.random_state))), 1
        if not isinstance(given, Mapping):
            raise UsageError("Only the random search takes several dicts of distributions. Give one dict.")
        return {name: domain_of(name, value) for name, value in given.items()}, None, number

    def _searcher(self, rows: list[dict[str, Any]] | None) -> Any:
        if rows is not None:
            return None
        wanted, seed = self.search_optimization, self.random_state
        if not isinstance(wanted, str):
            return wanted
        if wanted == "random":
            return BasicVariantGenerator(random_state=seed)
        from hpctune.search.create import create_searcher

        seeded = {"seed": seed} if isinstance(seed, int) else {}
        return create_searcher(wanted, **seeded)


def domain_of(name: str, value: Any) -> Any:
    """The domain of hpctune for what scikit-learn's users write. Raises UsageError for what has none."""
    if isinstance(value, Domain):
        return value
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(each, (int, float)) for each in value):
        low, high = value
        return randint(low, high + 1) if isinstance(low, int) and isinstance(high, int) else uniform(low, high)
    if hasattr(value, "rvs"):
        low, high = value.support()
        kind = value.dist.name
        if kind == "uniform":
            return uniform(float(low), float(high))
        if kind in ("loguniform", "reciprocal"):
            return loguniform(float(low), float(high))
        if kind == "randint":
            return randint(int(low), int(high) + 1)
        raise UsageError(
            f"{name!r} has the distribution {kind!r}, which only the random search can draw from. Use uniform, "
            f"loguniform or randint of scipy, or a domain such as hpctune.loguniform(1e-4, 1)."
        )
    if isinstance(value, (list, tuple, np.ndarray)):
        return choice(list(value))
    raise UsageError(f"{name!r} takes a list of values, a distribution or a domain, not {value!r}.")


def _has_domains(given: Any) -> bool:
    dicts = [given] if isinstance(given, Mapping) else list(given)
    return any(isinstance(v, (Domain, tuple)) for each in dicts for v in each.values())


def _listed(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The space of listed candidates, and these."""
    return {CANDIDATE: grid_search(list(range(len(rows))))}, rows


def _clone(estimator: Any) -> Any:
    from sklearn.base import clone

    return clone(estimator)


def _failed(fold: Fold, error_score: Any, words: str) -> dict[str, Any]:
    """The outcome of a fit that did not take place, in scikit-learn's form."""
    return {
        "fit_error": words,
        "test_scores": error_score,
        "train_scores": error_score,
        "n_test_samples": len(fold.kwargs.get("test", ())),
        "fit_time": 0.0,
        "score_time": 0.0,
    }
