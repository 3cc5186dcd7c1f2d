"""A candidate of a search in a job: the fits of all its folds, whole or step by step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hpctune.errors import UsageError
from hpctune.interop.scikit.tasks import Shared, keep
from hpctune.worker.context import report_row

CANDIDATE = "candidate"
"""The number of a candidate that is listed."""
LIMITS = ("n_estimators", "max_iter")
"""The parameters by which estimators with ``warm_start`` go further."""


@dataclass(slots=True)
class Fold:
    """One fit as scikit-learn's search would make it: a function, its estimator, and its further arguments."""

    function: Callable[..., Any]
    estimator: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def fit(self, estimator: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Fit and score."""
        made: dict[str, Any] = self.function(estimator, *self.args, **{**self.kwargs, "parameters": dict(parameters)})
        return made


class Candidate:
    """The trainable: fits a candidate on every fold. ``steps``: how often it reports until it is fitted whole.

    ``names``: of the scores, the one that is optimized first. ``classes``: of the target, for ``partial_fit``.
    ``rows``: the candidates, if they are listed; the configuration has a number then. ``search``: its fingerprint.
    """

    __name__ = "candidate"

    def __init__(
        self,
        folds: Sequence[Fold],
        steps: int,
        names: Sequence[str],
        classes: Any,
        rows: Sequence[Mapping[str, Any]] | None = None,
        search: str | None = None,
    ) -> None:
        self._folds, self.search = Shared(folds), search
        self._steps, self._names, self._classes = steps, tuple(names), classes
        self._rows = None if rows is None else list(rows)
        self._stated: dict[str, Any] = {}

    def __call__(self, config: Mapping[str, Any]) -> None:
        from sklearn.base import clone

        parameters = dict(config) if self._rows is None else dict(self._rows[config[CANDIDATE]])
        self._stated = {} if self._rows is None else {name: str_if_object(each) for name, each in parameters.items()}
        folds = [self._folds[number] for number in range(len(self._folds))]
        if self._steps == 1:
            self._tell([fold.fit(clone(fold.estimator), _cloned(parameters)) for fold in folds], 1)
            return
        growing = [growing_estimator(clone(fold.estimator), parameters, self._steps, self._classes) for fold in folds]
        for step in range(1, self._steps + 1):
            self._tell(
                [fold.fit(each.estimator, each.at(step)) for fold, each in zip(folds, growing, strict=True)], step
            )

    def _tell(self, outcomes: list[dict[str, Any]], step: int) -> None:
        """Keep the outcomes, and report their mean scores."""
        keep((outcomes, step))
        row: dict[str, Any] = {}
        for name in self._names:
            scores = [_score(outcome.get("test_scores"), name) for outcome in outcomes]
            row[f"mean_test_{name}"] = float(np.mean(scores))
        row["fit_time"] = float(np.sum([outcome.get("fit_time", 0.0) for outcome in outcomes]))
        report_row({**row, "config": self._stated})


def str_if_object(value: Any) -> Any:
    """``value`` if it is simple, else its text, for tables."""
    return value if isinstance(value, (bool, int, float, str, np.number, type(None))) else str(value)


def _score(scores: Any, name: str) -> float:
    value = scores.get(name, math.nan) if isinstance(scores, Mapping) else scores
    return math.nan if value is None else float(value)


def _cloned(parameters: Mapping[str, Any]) -> dict[str, Any]:
    from sklearn.base import clone

    return {name: clone(value, safe=False) for name, value in parameters.items()}


@dataclass(slots=True)
class Growing:
    """An estimator that is fitted further at each call of ``fit``. ``at``: its parameters at a step."""

    estimator: Any
    at: Callable[[int], dict[str, Any]]


def growing_estimator(estimator: Any, parameters: Mapping[str, Any], steps: int, classes: Any) -> Growing:
    """The estimator with these parameters. Raises UsageError if it cannot be fitted step by step."""
    estimator.set_params(**_cloned(parameters))
    last, prefix = last_step(estimator)
    if hasattr(last, "partial_fit"):
        estimator.fit = partial(_PartialFit(estimator, classes))
        return Growing(estimator, lambda step: {})
    limit = next((name for name in LIMITS if "warm_start" in last.get_params() and name in last.get_params()), None)
    if limit is None:
        raise UsageError(
            f"early_stopping needs an estimator with partial_fit, or with warm_start and one of {', '.join(LIMITS)}; "
            f"{type(last).__name__} has none of these. Leave early_stopping out."
        )
    whole = int(last.get_params()[limit])
    estimator.set_params(**{f"{prefix}warm_start": True})
    return Growing(estimator, lambda step: {f"{prefix}{limit}": max(1, round(whole * step / steps))})


def last_step(estimator: Any) -> tuple[Any, str]:
    """The estimator at the end of a pipeline, and the prefix of its parameters; else the estimator itself."""
    if hasattr(estimator, "steps"):
        name, inner = estimator.steps[-1]
        found, prefix = last_step(inner)
        return found, f"{name}__{prefix}"
    return estimator, ""


class _PartialFit:
    """The ``fit`` of an estimator that goes on with ``partial_fit``. What comes before in a pipeline is fitted once."""

    def __init__(self, estimator: Any, classes: Any) -> None:
        self._estimator, self._classes = estimator, classes
        self._data: Any = None

    def __call__(self, data: Any, target: Any = None, **params: Any) -> Any:
        estimator = self._estimator
        if hasattr(estimator, "steps"):
            if self._data is None:
                before = copy.copy(estimator[:-1])
                self._data = before.fit_transform(data, target) if len(before) else data
            last, data = estimator.steps[-1][1], self._data
        else:
            last = estimator
        more = {} if self._classes is None else {"classes": self._classes}
        last.partial_fit(data, target, **more, **params)
        return estimator
