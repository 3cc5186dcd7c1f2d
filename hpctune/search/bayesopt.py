"""Search with bayesian-optimization: a Gaussian process and an acquisition function."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.common.checks import is_whole
from hpctune.errors import UsageError
from hpctune.search.adapters.axes import AxisSearcher, Kind
from hpctune.search.adapters.isolation import quiet
from hpctune.search.adapters.library import Loss
from hpctune.search.adapters.points import Evaluated

_UTILITY = {"kind": "ucb", "kappa": 2.576, "xi": 0.0, "kappa_decay": 1.0, "kappa_decay_delay": 0}


class BayesOptSearch(AxisSearcher):
    """Asks bayesian-optimization (version 3 or later) for configurations.

    The first configurations are random, and the model begins to learn when all of those have ended. It knows what has
    ended only: of trials that run at the same time, those suggested together may be near each other. A trial that
    failed counts as the worst so far.

    Args:
        space: hpctune domains; or a dict in the library's format, such as ``{"x": (0, 1)}``. None: the experiment's.
        metric: The reported value to optimize; None: the experiment's.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first. They count among the random ones.
        utility_kwargs: The acquisition function: ``kind`` ("ucb", "ei" or "poi"), ``kappa`` (for ucb), ``xi`` (for
            the others), and for ucb ``kappa_decay`` and ``kappa_decay_delay``.
        random_state: A seed; None: the experiment's.
        random_search_steps: How many configurations are random.
        verbose: What the library prints: 0 for nothing, to 2.
        patience: After how many repetitions of a suggestion the search ends.
        skip_duplicate: Whether a suggestion that was made before is passed over.
        analysis: Trials to learn from first: an ExperimentAnalysis, a ResultGrid or a list of trials.
        repeat_float_precision: How many decimals count where suggestions are compared.
        evaluated_rewards: The metrics of ``points_to_evaluate``, which are then learned from and not tried.

    Raises:
        UsageError: if an argument is of the wrong kind.
        MissingPackageError: without the package bayesian-optimization.
    """

    package = "bayes_opt"
    native_by_name = True
    extra = "bayesopt"
    has_log = False

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        utility_kwargs: Mapping[str, Any] | None = None,
        random_state: int | None = 42,
        random_search_steps: int = 10,
        verbose: int = 0,
        patience: int = 5,
        skip_duplicate: bool = True,
        analysis: Any = None,
        repeat_float_precision: int = 5,
        evaluated_rewards: Sequence[Any] | None = None,
        max_concurrent: int | None = None,
        use_early_stopped_trials: bool | None = None,
    ) -> None:
        self._utility = {**_UTILITY, **(utility_kwargs or {})}
        if unknown := self._utility.keys() - _UTILITY.keys():
            raise UsageError(f"utility_kwargs has no '{min(unknown)}'. It has: {', '.join(_UTILITY)}.")
        if self._utility["kind"] not in ("ucb", "ei", "poi"):
            raise UsageError(f"utility_kwargs['kind'] is 'ucb', 'ei' or 'poi', not {self._utility['kind']!r}.")
        for name, value, least in (
            ("random_search_steps", random_search_steps, 0),
            ("patience", patience, 1),
            ("repeat_float_precision", repeat_float_precision, 0),
        ):
            if not is_whole(value) or value < least:
                raise UsageError(f"{name} is a whole number from {least}, not {value!r}.")
        self._steps, self._patience, self._precision = random_search_steps, patience, repeat_float_precision
        self._verbose, self._skip, self._analysis = verbose, skip_duplicate, analysis
        self._made: set[str] = set()
        self._ended = 0
        self._kept: list[tuple[dict[str, Any], float | None]] = []
        self._counts: Counter[str] = Counter()
        super().__init__(
            space,
            metric,
            mode,
            points_to_evaluate,
            evaluated_rewards,
            random_state,
            max_concurrent,
            use_early_stopped_trials,
        )
        if not hasattr(self.library(), "acquisition"):
            raise UsageError(
                "BayesOptSearch needs bayesian-optimization 3 or later, but an older one is installed. "
                "Install it: pip install 'hpctune[bayesopt]'"
            )

    def _bounds(self) -> dict[str, Any]:
        if not self._converts:
            return dict(self._native)
        return {
            axis.name: [str(number) for number in range(int(axis.high) + 1)]
            if axis.kind is Kind.OPTION
            else (axis.low, axis.high, float if axis.kind is Kind.REAL else int)
            for axis in self._axes
        }

    def _start(self, seed: int | None) -> None:
        from numpy.random import RandomState

        library = self.library()
        self._random = RandomState(seed)
        self._acquisition = self._acquisition_function(library.acquisition)
        with quiet():  # whole numbers and options are "experimental"
            self._optimizer = library.BayesianOptimization(
                f=None,
                pbounds=self._bounds(),
                acquisition_function=self._acquisition,
                random_state=self._random,
                verbose=self._verbose,
                allow_duplicate_points=True,
            )
        if self._analysis is not None:
            assert isinstance(self._metric, str)
            self.add_evaluated_trials(self._analysis, self._metric)

    def _acquisition_function(self, acquisition: Any) -> Any:
        utility = self._utility
        if utility["kind"] == "ei":
            return acquisition.ExpectedImprovement(xi=utility["xi"])
        if utility["kind"] == "poi":
            return acquisition.ProbabilityOfImprovement(xi=utility["xi"])
        decay = utility["kappa_decay"]
        return acquisition.UpperConfidenceBound(
            kappa=utility["kappa"],
            exploration_decay=None if decay == 1 else decay,
            exploration_decay_delay=None if decay == 1 else utility["kappa_decay_delay"],
        )

    # -- asking -----------------------------------------------------------------------------------------------

    def _ask(self, trial_id: str) -> dict[str, Any] | str | None:
        if len(self._made) >= self._steps > self._ended:
            return None  # the model is made when all random ones have ended
        before = self._random.get_state(), dict(self._acquisition.__dict__), Counter(self._counts)
        while True:
            coordinates = self._propose()
            values = self._values(coordinates)
            key = self._key(values)
            self._counts[key] += 1
            if self._counts[key] == 1 or (not self._skip and self._counts[key] <= self._patience):
                self._made.add(trial_id)
                return values
            if self._counts[key] > self._patience:
                if not self._pending:
                    return self.FINISHED
                self._random.set_state(before[0])  # as if it had not been asked: it will be again
                self._acquisition.__dict__.update(before[1])
                self._counts = before[2]
                return None

    def _propose(self) -> dict[str, Any]:
        with quiet():
            if len(self._made) < self._steps or not len(self._optimizer.space):
                found = self._optimizer.random_sample(1)[0]
            else:
                found = self._optimizer.suggest()
        return dict(found)

    def _key(self, values: Mapping[str, Any]) -> str:
        rounded = {
            name: f"{value:.{self._precision}f}" if isinstance(value, float) else value
            for name, value in values.items()
        }
        return json.dumps(rounded, sort_keys=True, default=str)

    def _adopt(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        self._counts[self._key(values)] += 1
        self._made.add(trial_id)
        return values

    # -- telling ----------------------------------------------------------------------------------------------

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        self._ended += 1
        self._kept.append((values, self._known(loss)))
        if self._ended >= self._steps:
            for each, value in self._kept:
                self._register(each, self._known(None) if value is None else value)
            self._kept = []

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        self._steps = max(0, self._steps - 1)
        self._register(values, self._known(loss))

    def _register(self, values: dict[str, Any], loss: float | None) -> None:
        if loss is None:
            return
        with quiet(also_stdout=not self._verbose):  # it prints a line about each repeated point
            self._optimizer.register(self._point(values), -loss)

    def _point(self, values: dict[str, Any]) -> dict[str, Any]:
        coordinates = self._coordinates(values)
        if not self._converts:
            return coordinates
        return {
            axis.name: str(coordinates[axis.name]) if axis.kind is Kind.OPTION else coordinates[axis.name]
            for axis in self._axes
        }
