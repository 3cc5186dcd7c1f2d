"""Search with FLAML: CFO, a local search that begins where trials are cheap, and BlendSearch, which adds Optuna."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from hpctune.common.packages import load
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.adapters.axes import Axis, AxisSearcher, Kind, plain
from hpctune.search.adapters.isolation import quiet
from hpctune.search.adapters.library import Loss
from hpctune.search.adapters.parameters import Layout
from hpctune.search.adapters.points import Evaluated, matching
from hpctune.space import flatten_dict

_LOSS = "hpctune_loss"
_ATTEMPTS = 100
"""How often FLAML is asked again when it has suggested what it suggested before."""


class BlendSearch(AxisSearcher):
    """Asks FLAML's BlendSearch for configurations: local searches from good points, and Optuna for new ones.

    What FLAML does by the clock, and its own handling of resources, are left out: the experiment has
    ``time_budget_s``, and a scheduler stops trials early.

    Args:
        metric: The reported value to optimize; None: the experiment's.
        mode: "min" or "max".
        space: hpctune domains, or FLAML's (``flaml.tune.uniform`` and so on) by name. None: the experiment's.
        low_cost_partial_config: Values, of some parameters, with which trials are cheap; the search begins there.
        cat_hp_cost: For choices, by name: how much each option costs, relative to the others.
        points_to_evaluate: Configurations to try first; what one leaves open is FLAML's choice.
        evaluated_rewards: The metrics of the first of these points, which are then learned from and not tried.
        num_samples: How many configurations there will be; None: the experiment's ``num_samples``.
        config_constraints: Triples such as ``(memory, "<=", 2**30)``, with a function of the configuration, which
            may have values but not constants of the space. Configurations that break one are not tried.
        metric_constraints: Triples such as ``("recall", ">=", 0.9)`` of reported values; breaking one is penalized.
        seed: None: the experiment's.
        cost_attr: The reported value that a trial costs; "auto" or None: all cost the same.
        cost_budget: How much all trials may cost together.
        experimental: Whether Optuna's model sees parameters together.

    Raises:
        UsageError: if an argument is of the wrong kind.
        MissingPackageError: without the package flaml (and optuna).
    """

    package = "flaml"
    native_by_name = True
    extra = "flaml"
    searcher: ClassVar[str] = "BlendSearch"

    def __init__(
        self,
        metric: str | None = None,
        mode: str | None = None,
        space: Mapping[str, Any] | None = None,
        low_cost_partial_config: Mapping[str, Any] | None = None,
        cat_hp_cost: Mapping[str, Sequence[float]] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        num_samples: int | None = None,
        config_constraints: Sequence[tuple[Callable[[dict[str, Any]], float], str, float]] | None = None,
        metric_constraints: Sequence[tuple[str, str, float]] | None = None,
        seed: int | None = 20,
        cost_attr: str | None = "auto",
        cost_budget: float | None = None,
        experimental: bool = False,
    ) -> None:
        for name, constraints in (
            ("config_constraints", config_constraints),
            ("metric_constraints", metric_constraints),
        ):
            if any(len(each) != 3 or each[1] not in ("<=", ">=") for each in constraints or ()):
                raise UsageError(f"{name} holds triples with '<=' or '>=' in the middle, not {constraints!r}.")
        self._cheap, self._costs = dict(low_cost_partial_config or {}), dict(cat_hp_cost or {})
        self._config_constraints = list(config_constraints or [])
        self._metric_constraints = list(metric_constraints or [])
        self._samples, self._experimental = num_samples, experimental
        self._cost_attr = None if cost_attr == "auto" else cost_attr
        self._cost_budget = cost_budget
        self._search: Any = None
        self._result: dict[str, Any] = {}
        self._asked: dict[str, dict[str, Any]] = {}
        self._learned = 0
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)

    @classmethod
    def library(cls, submodule: str = "") -> Any:
        with quiet():  # it warns that its other half, which is not needed, lacks packages
            return super().library(submodule)

    # -- the space --------------------------------------------------------------------------------------------

    def set_search_properties(
        self,
        metric: str | Sequence[str] | None,
        mode: str | Sequence[str] | None,
        config: Mapping[str, Any],
        **spec: Any,
    ) -> bool:
        """Take over what the searcher has not been told, and the number of samples."""
        self._samples = spec.get("num_samples") if self._samples is None else self._samples
        return super().set_search_properties(metric, mode, config, **spec)

    def _domains(self) -> dict[str, Any]:
        if not self._converts:
            return {self._names[name]: domain for name, domain in self._native.items()}
        tune = self.library("tune")
        return {self._names[axis.name]: _flaml_domain(axis, tune) for axis in self._axes}

    def _theirs(self, values: Mapping[str, Any], whole: bool = True) -> dict[str, Any]:
        """Values in FLAML's form; unless ``whole``, only those that there are."""
        coordinates = self._coordinates(values)
        if self._converts:
            coordinates = {
                axis.name: _category(axis, coordinates[axis.name])
                for axis in self._axes
                if whole or axis.name in values
            }
        return {self._names[name]: each for name, each in coordinates.items()}

    def _ours(self, config: Mapping[str, Any]) -> dict[str, Any]:
        back = {theirs: name for name, theirs in self._names.items()}
        return self._values({back[name]: plain(each) for name, each in config.items() if name in back})

    def _start(self, seed: int | None) -> None:
        assert self._layout is not None
        names = [axis.name for axis in self._axes] if self._converts else list(self._native)
        self._names = {name: f"p{number}" for number, name in enumerate(names)}  # FLAML takes names apart at "/"
        points = [self._partial(point, "points_to_evaluate") for point in self._points]
        known = [
            (self._partial(each.parameters, "An evaluated point"), self._loss(each.value)) for each in self._evaluated
        ]
        known = [(point, loss) for point, loss in known if loss is not None]
        self._points, self._evaluated = [], []
        module = self.library("tune.searcher.blendsearch")
        with quiet(), _optuna_quiet():
            self._search = getattr(module, self.searcher)(
                metric=_LOSS,
                mode="min",
                space=self._domains(),
                low_cost_partial_config=self._partial(self._cheap, "low_cost_partial_config"),
                cat_hp_cost={self._names[name]: list(cost) for name, cost in self._costs.items()},
                points_to_evaluate=[point for point, _ in known] + points,
                evaluated_rewards=[loss for _, loss in known],
                num_samples=self._samples,
                config_constraints=[
                    (self._constraint(rule), sign, than) for rule, sign, than in self._config_constraints
                ],
                metric_constraints=self._metric_constraints,
                seed=seed,
                cost_attr=self._cost_attr,
                cost_budget=self._cost_budget,
                experimental=self._experimental,
            )

    def _partial(self, config: Mapping[str, Any], where: str) -> dict[str, Any]:
        assert self._layout is not None
        return self._theirs(self._layout.flatten(config, strict=True, where=where), whole=False)

    def _constraint(self, rule: Callable[[dict[str, Any]], float]) -> Callable[[dict[str, Any]], float]:
        layout = self._layout
        assert layout is not None
        return lambda config: rule(layout.nest(self._ours(config)))

    # -- asking and telling -----------------------------------------------------------------------------------

    def _ask(self, trial_id: str) -> dict[str, Any] | str | None:
        before = copy.deepcopy(self._search) if self._pending else None
        with quiet():
            for _ in range(_ATTEMPTS):
                config = self._search.suggest(trial_id)
                if config is not None:
                    self._asked[trial_id] = dict(config)
                    return self._ours(config)
        if before is None:
            return self.FINISHED
        self._search = before  # as if it had not been asked: it will be again
        return None

    def on_suggestion_replayed(self, trial_id: str, config: dict[str, Any]) -> None:
        """Bring FLAML to where it was after this suggestion, even if the points to try were changed for the resume.

        FLAML itself has the points, and takes the first. So the recorded one is moved to their front; if the record is
        none of them, FLAML is asked as though there were none.
        """
        layout = self._ready()
        points = self._search._points_to_evaluate
        number = self._recorded_point(config, layout, points)
        if number is not None:
            points.insert(0, points.pop(number))
            super().on_suggestion_replayed(trial_id, config)
            return
        self._search._points_to_evaluate = []
        super().on_suggestion_replayed(trial_id, config)
        self._search._points_to_evaluate = points

    def _recorded_point(
        self, config: Mapping[str, Any], layout: Layout, points: Sequence[Mapping[str, Any]]
    ) -> int | None:
        try:
            recorded = self._theirs(layout.flatten(config, strict=False, where="The recorded configuration"), False)
        except SearchSpaceError:  # the space was changed for the resume
            return None
        return matching(points, recorded)

    def _adopt(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        if self._asked.pop(trial_id, None) is not None:
            with quiet():
                self._search.on_trial_complete(trial_id, error=True)
        return values

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell FLAML the metric, what the trial cost, and what constraints are about."""
        self._result = flatten_dict(result or {})
        super().on_trial_complete(trial_id, result, error)

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        config = self._asked.pop(trial_id, None)
        known = config is not None
        theirs = config if config is not None else self._theirs(values)
        reported = {name: each for name, each in self._result.items() if not name.startswith("config/")}
        flat = {f"config/{name}": each for name, each in theirs.items()}  # FLAML reads one form here, the other there
        result = {**reported, **flat, _LOSS: loss, "config": theirs}
        with quiet():
            if loss is None:
                self._search.on_trial_complete(trial_id, error=True)
            else:
                self._search.on_trial_complete(trial_id if known else self._stranger(), result)

    def _stranger(self) -> str:
        """A trial's name that FLAML has not asked for: its configuration may become a point to begin from."""
        self._learned += 1
        return f"learned-{self._learned}"

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        self._result = {self._cost_attr: 1} if self._cost_attr else {}
        self._tell("", values, loss)


class CFO(BlendSearch):
    """Asks FLAML's CFO for configurations: one local search at a time, which begins where trials are cheap.

    Its arguments are those of :class:`BlendSearch`; ``experimental`` makes no difference.
    """

    searcher = "CFO"


@contextlib.contextmanager
def _optuna_quiet() -> Iterator[None]:
    """No line about the study that BlendSearch makes."""
    logging = load("optuna", "logging", "flaml", "BlendSearch")
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _flaml_domain(axis: Axis, tune: Any) -> Any:
    if axis.kind is Kind.OPTION:
        return tune.choice([_category(axis, number) for number in range(int(axis.high) + 1)])
    if axis.kind is Kind.WHOLE:
        return (tune.lograndint if axis.log else tune.randint)(int(axis.low), int(axis.high) + 1)
    return (tune.loguniform if axis.log else tune.uniform)(axis.low, axis.high)


def _category(axis: Axis, coordinate: Any) -> Any:
    """FLAML takes numbers for ordered and words for not."""
    return str(coordinate) if axis.kind is Kind.OPTION and not axis.ordered else coordinate
