"""Search with HyperOpt: tree-structured Parzen estimators over spaces with conditions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.adapters.library import LibrarySearcher
from hpctune.search.adapters.objective import Loss
from hpctune.search.adapters.parameters import Layout, Parameter
from hpctune.search.adapters.points import Evaluated
from hpctune.search.adapters.unit import snapped
from hpctune.space import Float, Integer, LogUniform, Normal, Quantized
from hpctune.space.points import same


class HyperOptSearch(LibrarySearcher):
    """Asks HyperOpt's ``tpe.suggest`` for configurations.

    A failed trial counts as one with an infinitely bad metric.

    Args:
        space: hpctune domains; or nested dicts of HyperOpt's ``hp.`` expressions. None: the space of the experiment.
        metric: The reported value to optimize.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first, with values, not numbers of options.
        n_initial_points: How many trials are random, before there is a model; None: HyperOpt's own number.
        random_state_seed: None: the experiment's seed.
        gamma: The share of good trials is gamma over the square root of their number; None: HyperOpt's own.

    Raises:
        UsageError: if an argument is of the wrong kind.
        MissingPackageError: without the package hyperopt.
    """

    package = "hyperopt"
    extra = "hyperopt"
    conditional = True

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        n_initial_points: int | None = 20,
        random_state_seed: int | None = None,
        gamma: float | None = 0.25,
        max_concurrent: int | None = None,
        use_early_stopped_trials: bool | None = None,
    ) -> None:
        if n_initial_points is not None and (not isinstance(n_initial_points, int) or n_initial_points < 0):
            raise UsageError(f"n_initial_points must be 0 or more, or None, not {n_initial_points!r}.")
        if gamma is not None and not gamma > 0:
            raise UsageError(f"gamma must be greater than 0, or None, not {gamma!r}.")
        options = {"n_startup_jobs": n_initial_points, "gamma": gamma}
        self._options = {name: value for name, value in options.items() if value is not None}
        self._expression: Any = None
        self._domain: Any = None
        self._docs: Any = None
        self._rng: Any = None
        self._numbers: dict[str, int] = {}
        super().__init__(
            space,
            metric,
            mode,
            points_to_evaluate,
            None,
            random_state_seed,
            max_concurrent,
            use_early_stopped_trials,
        )

    # -- the space --------------------------------------------------------------------------------------------

    def _convert(self, parameter: Parameter) -> Any:
        """The expression of a numeric parameter; choices are put together from them in :meth:`_choice`."""
        hp, name, domain = self.library("hp"), parameter.name, parameter.domain
        if parameter.options:
            return None
        assert isinstance(domain, (Float, Integer))
        sampler, q = domain.exact_sampler(), domain.sampler.q if isinstance(domain.sampler, Quantized) else None
        if isinstance(sampler, Normal):
            ends: tuple[float, float] = (sampler.mean, sampler.sd)
            return hp.normal(name, *ends) if q is None else hp.qnormal(name, *ends, q)
        ends = (domain.lower, domain.upper)
        if isinstance(domain, Integer):
            ends, q = (domain.smallest, domain.largest), domain.step
        if isinstance(sampler, LogUniform):
            logs = [math.log(end) for end in ends]
            return hp.loguniform(name, *logs) if q is None else hp.qloguniform(name, *logs, q)
        if isinstance(domain, Integer):  # an equal share for the first and the last
            return hp.quniform(name, ends[0] - domain.step / 2, ends[1] + domain.step / 2, q)
        return hp.uniform(name, *ends) if q is None else hp.quniform(name, *ends, q)

    def _choice(self, parameter: Parameter) -> Any:
        options = []
        for number in range(parameter.options):
            inner = [p for p in self.parameters if p.condition == (parameter.name, number)]
            options.append({p.name: self._expression_of(p) for p in inner} or number)
        return self.library("hp").choice(parameter.name, options)

    def _expression_of(self, parameter: Parameter) -> Any:
        return self._choice(parameter) if parameter.options else self._native[parameter.name]

    def _take_native(self, space: Any) -> Layout:
        apply = self.library("pyll").Apply
        if not isinstance(space, Mapping) or not any(isinstance(leaf, apply) for leaf in _leaves(space)):
            raise SearchSpaceError(
                f"The space of HyperOptSearch holds hpctune domains, or expressions of hyperopt.hp, not {space!r}."
            )
        self._expression = dict(space)
        return _Expressions(self._expression, self.library())

    # -- the search -------------------------------------------------------------------------------------------

    def _start(self, seed: int | None) -> None:
        import numpy as np

        base = self.library("base")
        if self._expression is None:
            self._expression = {p.name: self._expression_of(p) for p in self.parameters if p.condition is None}
        self._domain = base.Domain(_itself, self._expression)
        self._docs = base.Trials()
        self._rng = np.random.default_rng(seed)

    def _ask(self, trial_id: str) -> dict[str, Any]:
        numbers = self._docs.new_trial_ids(1)
        self._docs.refresh()
        seed = int(self._rng.integers(2**31 - 1))
        docs = self.library("tpe").suggest(numbers, self._domain, self._docs, seed, verbose=False, **self._options)
        self._insert(docs)
        self._numbers[trial_id] = numbers[0]
        return self._ours({label: found[0] for label, found in docs[0]["misc"]["vals"].items() if len(found)})

    def _insert(self, docs: list[Any]) -> None:
        self._docs.insert_trial_docs(docs)
        self._docs.refresh()

    def _ours(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """HyperOpt's values, as plain Python values; parents before what depends on them."""
        if not self.parameters:
            return {label: value.item() if hasattr(value, "item") else value for label, value in raw.items()}
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name not in raw or not parameter.active(values):
                continue
            value = raw[parameter.name]
            drawn = parameter.value(int(value)) if parameter.options else snapped(parameter.domain, float(value))
            values[parameter.name] = drawn
        return values

    def _theirs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values in HyperOpt's form: the numbers of options."""
        chosen = [p for p in self.parameters if p.options and p.name in values]
        return {**values, **{parameter.name: parameter.option(values[parameter.name]) for parameter in chosen}}

    def _adopt(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        if (asked := self._numbers.pop(trial_id, None)) is not None:
            self._finish(asked, self.library("base").JOB_STATE_ERROR, {"status": "fail"})
        self._numbers[trial_id] = self._add(values)
        return values

    def _add(self, values: Mapping[str, Any]) -> int:
        """Make a document with these values, as though they had been suggested; return its number."""
        raw = self._theirs(values)
        [number] = self._docs.new_trial_ids(1)
        misc = {
            "tid": number,
            "cmd": self._domain.cmd,
            "workdir": self._domain.workdir,
            "idxs": {label: [number] if label in raw else [] for label in self._domain.params},
            "vals": {label: [raw[label]] if label in raw else [] for label in self._domain.params},
        }
        self._insert(self._docs.new_trial_docs([number], [None], [self._domain.new_result()], [misc]))
        return int(number)

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        self._finish(self._numbers.pop(trial_id), self.library("base").JOB_STATE_DONE, _result(loss))

    def _finish(self, number: int, state: int, result: dict[str, Any]) -> None:
        [doc] = [doc for doc in self._docs.trials if doc["tid"] == number]
        doc["state"], doc["result"] = state, result
        self._docs.refresh()

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        self._finish(self._add(values), self.library("base").JOB_STATE_DONE, _result(loss))


class _Expressions:
    """The layout of a space of HyperOpt's expressions. Its flat values are what HyperOpt draws, by label."""

    def __init__(self, space: dict[str, Any], hyperopt: Any) -> None:
        self.space, self.hyperopt = space, hyperopt

    def __reduce__(self) -> Any:
        return _again, (self.space,)

    def nest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return _plain(self.hyperopt.space_eval(self.space, dict(values)))  # type: ignore[no-any-return]

    def flatten(self, config: Mapping[str, Any], *, strict: bool, where: str) -> dict[str, Any]:
        unknown = [key for key in config if key not in self.space]
        if strict and unknown:
            known = ", ".join(map(repr, self.space))
            raise SearchSpaceError(f"{where} sets '{unknown[0]}', which is not in the search space. It has: {known}.")
        values: dict[str, Any] = {}
        for key, node in self.space.items():
            if key not in config:
                raise SearchSpaceError(f"{where} does not set '{key}'. In a space of HyperOpt's all must be set.")
            if not _match(self.hyperopt.pyll.as_apply(node), config[key], values):
                raise SearchSpaceError(
                    f"{where} sets '{key}' to {config[key]!r}, which HyperOpt cannot have drawn. "
                    "Give a value within the bounds; of hp.choice the option itself, with all that is drawn in it."
                )
        return values

    def missing(self, values: Mapping[str, Any]) -> list[Parameter]:
        return []


def _again(space: dict[str, Any]) -> _Expressions:
    return _Expressions(space, HyperOptSearch.library())


def _match(node: Any, given: Any, values: dict[str, Any]) -> bool:
    """Whether an expression can give ``given``; puts the values that make it do so into ``values``, by label."""
    match node.name:
        case "literal":
            return same(node.obj, given)
        case "hyperopt_param":
            values[node.pos_args[0].obj] = given
            return _can_draw(node.pos_args[1], given)
        case "switch":
            label = node.pos_args[0].pos_args[0].obj
            for number, option in enumerate(node.pos_args[1:]):
                inner: dict[str, Any] = {}
                if _match(option, given, inner):
                    values.update({label: number, **inner})
                    return True
            if not _by_number(node.pos_args[1:], given):
                return False
            values[label] = int(given)
            return True
        case "dict":
            named = dict(node.named_args)
            fits = isinstance(given, Mapping) and named.keys() == given.keys()
            return fits and all(_match(inner, given[key], values) for key, inner in named.items())
        case "pos_args":
            fits = isinstance(given, (list, tuple)) and len(given) == len(node.pos_args)
            return fits and all(_match(inner, each, values) for inner, each in zip(node.pos_args, given, strict=True))
        case "int" if isinstance(given, Real) and given % 1:
            return False
        case "float" | "int":
            return _match(node.pos_args[0], given, values)
    return False


def _by_number(options: Sequence[Any], given: Any) -> bool:
    """Whether ``given`` is the number of a constant among the options, as in points for HyperOpt itself."""
    number = int(given) if isinstance(given, Integral) and not isinstance(given, bool) else -1
    return 0 <= number < len(options) and options[number].name == "literal"


def _can_draw(distribution: Any, given: Any) -> bool:
    """Whether ``given`` is a number within the bounds of HyperOpt's distribution."""
    if not isinstance(given, Real) or isinstance(given, bool) or not math.isfinite(given):
        return False
    known = {name: node.obj for name, node in distribution.arg.items() if getattr(node, "name", None) == "literal"}
    low, high, step = known.get("low", -math.inf), known.get("high", math.inf), known.get("q", 0)
    match distribution.name:
        case "loguniform" | "qloguniform":
            low, high = math.exp(low), math.exp(high)
        case "lognormal" | "qlognormal":
            low = 0
        case "randint":
            low, high = (low, high - 1) if "high" in known else (0, low - 1)
    return bool(low - step / 2 <= given <= high + step / 2)  # with q, a value is rounded, so it may exceed the bounds


def _leaves(node: Any) -> Iterator[Any]:
    if isinstance(node, Mapping):
        node = list(node.values())
    if not isinstance(node, (list, tuple)):
        yield node
        return
    for child in node:
        yield from _leaves(child)


def _plain(value: Any) -> Any:
    """``value`` with plain Python numbers in place of numpy's."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(each) for each in value)
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _result(loss: Loss | None) -> dict[str, Any]:
    return {"status": "fail"} if loss is None else {"status": "ok", "loss": loss}


def _itself(config: Any) -> Any:
    return config
