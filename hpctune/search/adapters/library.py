"""The base of all searchers that ask a model, mostly that of a library, for configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hpctune.common.kept_state import before_use
from hpctune.common.log import log
from hpctune.common.packages import load
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.model.rows import lookup
from hpctune.search.adapters.objective import Loss as Loss, loss_of
from hpctune.search.adapters.parameters import Layout, NamedValues, Parameter, ParameterSpace, agree
from hpctune.search.adapters.points import (
    SEED_LIMIT,
    Evaluated,
    checked_points,
    checked_seed,
    completed,
    matching,
    with_rewards,
)
from hpctune.search.searcher import UNDEFINED_METRIC_MODE, UNDEFINED_SEARCH_SPACE, UNRESOLVED_SEARCH_SPACE, Searcher
from hpctune.space import flatten_dict, has_unresolved
from hpctune.space.points import same
from hpctune.space.tree import path_text, unresolved

RETURNED = "_metric"
"""The name of a value that was reported or returned without one."""


class LibrarySearcher(Searcher):
    """Does for every library what does not depend on it; a subclass defines the methods with an underscore below.

    The space comes from ``space=`` (hpctune domains, or the library's own format) or from the experiment. Values
    pass between this class and the library flat, by parameter name (see :class:`ParameterSpace`), as plain Python
    values; a choice with domains inside an option is the number of the option.

    The library's objects are made by :meth:`_start` when they are first needed: then space, metric, mode and seed
    are known. On resume the library is asked again and told again in the original order. If it answers otherwise
    than it is recorded that it did, :meth:`_adopt` puts the recorded values in the place of its answer.

    Args:
        space: The search space; None: the experiment's.
        metric: The reported value to optimize; None: the experiment's.
        mode: "min" or "max".
        points_to_evaluate: Configurations to try first: see :mod:`hpctune.space.points`. What one leaves open is drawn
            at random (or by the library, if it can).
        evaluated_rewards: The metric of each of those points, if it is known: they are learned from and not tried.
        seed: None: the experiment's.

    Raises:
        UsageError: if an argument is of the wrong kind.
        MissingPackageError: if the library is not installed.
    """

    package: ClassVar[str] = ""
    """The module that must be importable."""
    extra: ClassVar[str] = ""
    """The extra of hpctune that installs it."""
    conditional: ClassVar[bool] = False
    """Whether it can search choices with domains inside their options."""
    native_by_name: ClassVar[bool] = False
    """Whether the library's own format is a mapping of names, which may be nested."""
    several_metrics: ClassVar[bool] = False
    completes_points: ClassVar[bool] = False
    """Whether :meth:`_adopt` completes points that leave parameters open."""
    asks_again: ClassVar[bool] = True
    """Whether the library is asked on resume; False if that is slow and would not give the same answer."""

    def __init__(
        self,
        space: Any = None,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
        max_concurrent: int | None = None,
        use_early_stopped_trials: bool | None = None,
    ) -> None:
        self.library()
        super().__init__(metric, mode, max_concurrent, use_early_stopped_trials)
        self._seed = checked_seed(seed)
        self._points = checked_points(points_to_evaluate)
        self._evaluated: list[Evaluated] = []
        if evaluated_rewards is not None:
            self._evaluated = with_rewards(self._points, evaluated_rewards)
            self._points = []
        self._own_space = space is not None and space != {}
        self._from_experiment: dict[str, Any] = {}
        self._layout: Layout | None = None
        self._native: Any = None
        self._started = False
        self._taken_points = 0
        self._pending: dict[str, dict[str, Any]] = {}
        if self._own_space:
            self._take_space(space)

    # -- what a subclass defines ------------------------------------------------------------------------------

    def _convert(self, parameter: Parameter) -> Any:
        """Return the library's form of a parameter; ``raise self._unsupported(parameter, ...)`` if there is none."""
        raise NotImplementedError

    def _start(self, seed: int | None) -> None:
        """Make the library's objects. :attr:`_native` holds what ``_convert`` returned, by parameter name."""
        raise NotImplementedError

    def _ask(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the values of a new suggestion; None if there is none now, FINISHED if there is none any more."""
        raise NotImplementedError

    def _adopt(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        """Make these values the trial's suggestion, as though the library had asked for them; return them.

        If the library has been asked for the trial (on resume), that answer is void. Nothing is to be done if
        the library learns from values (:meth:`_tell` gets them) and needs not know what is under way.
        """
        return values

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        """Learn how a suggestion did; ``loss`` is None if its trial failed, or the metric is missing or not finite."""
        raise NotImplementedError

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        """Learn from what was evaluated elsewhere; ``loss`` is None if that failed."""
        raise NotImplementedError

    def _native_accepts(self, name: str, value: Any) -> bool:
        """Whether a value is one of a parameter in the library's own format; True if that cannot be known."""
        return True

    def _take_native(self, space: Any) -> Layout:
        """Take a space in the library's own format: set :attr:`_native`, and return its layout."""
        if self.native_by_name and isinstance(space, Mapping):
            self._native = flatten_dict(space)
            return NamedValues(self._native)
        who = type(self).__name__
        raise SearchSpaceError(f"{who} takes a space of hpctune domains, as {{'x': uniform(0, 1)}}, not {space!r}.")

    # -- the space --------------------------------------------------------------------------------------------

    def _take_space(self, space: Any) -> None:
        if isinstance(space, Mapping) and has_unresolved(dict(space)):
            self._layout = layout = ParameterSpace(space, type(self).__name__, constants=self._own_space)
            self._native = {each.name: self._converted(each) for each in layout.parameters}
        else:
            self._layout = self._take_native(space)

    def _converted(self, parameter: Parameter) -> Any:
        if parameter.branching and not self.conditional:
            raise SearchSpaceError(
                f"{type(self).__name__} cannot search '{parameter.name}': it is a choice with domains inside an "
                "option. Use OptunaSearch, HyperOptSearch or TuneBOHB, or make those domains parameters of their own."
            )
        return self._convert(parameter)

    def _unsupported(self, parameter: Parameter, instead: str) -> SearchSpaceError:
        """The error for a domain that the library does not have; ``instead`` is a sentence that says what to do."""
        return SearchSpaceError(
            f"{type(self).__name__} cannot search '{parameter.name}': {parameter.domain!r} has no counterpart in "
            f"{self.package or 'it'}. {instead}"
        )

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters, if the space is one of hpctune domains."""
        return self._layout.parameters if isinstance(self._layout, ParameterSpace) else []

    def set_search_properties(
        self,
        metric: str | Sequence[str] | None,
        mode: str | Sequence[str] | None,
        config: Mapping[str, Any],
        **spec: Any,
    ) -> bool:
        """Take over what the searcher has not been told: metric, mode, space and seed.

        Returns:
            Whether it searches ``config``: not if nothing is open in it.

        Raises:
            SearchSpaceError: if there is nothing to search, something that cannot be, or two spaces.
            UsageError: if metric or mode is missing, or there are several metrics and the library takes one.
        """
        super().set_search_properties(metric, mode, config)
        if self._seed is None and spec.get("seed") is not None:
            self._seed = int(spec["seed"]) % SEED_LIMIT
        accepted = self._take_experiment(config)
        self._check()
        return accepted

    def _take_experiment(self, config: Mapping[str, Any]) -> bool:
        open_leaves = {path_text(path): leaf for path, leaf in unresolved(dict(config)).items()}
        if not open_leaves:
            return False
        if self._own_space:
            raise SearchSpaceError(
                UNRESOLVED_SEARCH_SPACE.format(par=next(iter(open_leaves)), cls=type(self).__name__, space="space")
            )
        if self._from_experiment and self._from_experiment != open_leaves:
            raise SearchSpaceError(
                f"This {type(self).__name__} has searched another space already. Make a new one for this experiment."
            )
        if not self._from_experiment:
            self._take_space(config)
            self._from_experiment = open_leaves
        return True

    def _check(self) -> None:
        who = type(self).__name__
        if self._layout is None:
            raise SearchSpaceError(UNDEFINED_SEARCH_SPACE.format(cls=who, space="space"))
        if self._metric is None and isinstance(self._mode, str):
            self._metric = RETURNED
        if not self._metric or not self._mode:
            raise UsageError(UNDEFINED_METRIC_MODE.format(cls=who, metric=self._metric, mode=self._mode))
        if not isinstance(self._metric, str) and not self.several_metrics:
            raise UsageError(f"{who} optimizes one metric, not {self._metric!r}. OptunaSearch takes several.")
        for number in range(len(self._points)):
            self._point_values(number, self._layout)
        for point in self._evaluated:
            self._evaluated_values(point, self._layout)

    def _point_values(self, number: int, layout: Layout) -> dict[str, Any]:
        """The values that the point with this number, of those not tried yet, sets."""
        where = f"points_to_evaluate[{self._taken_points + number}]"
        values = layout.flatten(self._points[number], strict=True, where=where)
        for name, value in values.items() if not isinstance(layout, ParameterSpace) else ():
            if not self._native_accepts(name, value):
                raise SearchSpaceError(f"{where} sets '{name}' to {value!r}, which is not in {self._native[name]!r}.")
        return values

    # -- asking and telling -----------------------------------------------------------------------------------

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next point to evaluate, or what the library suggests. Raises as ``set_search_properties`` does."""
        layout = self._ready()
        answer = self._try_point(trial_id, 0, layout) if self._points else self._ask(trial_id)
        if not isinstance(answer, dict):
            return answer
        self._pending[trial_id] = answer
        return layout.nest(answer)

    def on_suggestion_replayed(self, trial_id: str, config: dict[str, Any]) -> None:
        """Bring the library to where it was after this suggestion; one that the space has no place for is left out."""
        layout = self._ready()
        number = self._tried_point(config, layout)
        answer: dict[str, Any] | str | None = None
        if number is not None:
            answer = self._try_point(trial_id, number, layout, told=True)
        elif self.asks_again:
            answer = self._ask(trial_id)
        if isinstance(answer, dict) and agree(layout.nest(answer), config):
            self._pending[trial_id] = answer
            return
        try:
            recorded = layout.flatten(config, strict=False, where="The recorded configuration")
        except SearchSpaceError:  # the space was changed for the resume
            return
        if not layout.missing(recorded):
            self._pending[trial_id] = self._adopt(trial_id, recorded)

    def _try_point(self, trial_id: str, number: int, layout: Layout, told: bool = False) -> dict[str, Any]:
        """Make the point with this number the trial's suggestion. ``told``: the user knows what of it is not used."""
        given, place = self._point_values(number, layout), self._taken_points + number
        del self._points[number]
        self._taken_points += 1
        values = given if self.completes_points else completed(given, layout, self._seed or 0, self._taken_points)
        values = self._adopt(trial_id, values)
        unused = [name for name, value in given.items() if not same(values.get(name, self), value)]
        if unused and not told:
            log.warning(
                f"points_to_evaluate[{place}] sets {', '.join(map(repr, unused))}, which trial {trial_id} does not "
                "use: the function that defines the space did not ask for it."
            )
        return values

    def _tried_point(self, config: Mapping[str, Any], layout: Layout) -> int | None:
        """The number of the point that a recorded configuration is, of those not tried yet."""
        try:
            recorded = layout.flatten(config, strict=False, where="The recorded configuration")
        except SearchSpaceError:
            return None
        return matching((self._point_values(number, layout) for number in range(len(self._points))), recorded)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the library the trial's last metric; a trial that failed, or without a finite metric, has failed."""
        values = self._pending.pop(trial_id, None)
        if values is not None:
            self._tell(trial_id, values, None if error or not result else self._loss_of(result))

    def _loss_of(self, result: Mapping[str, Any]) -> Loss | None:
        metrics = self._metric or ()
        return self._loss(lookup(result, metrics) if isinstance(metrics, str) else [lookup(result, m) for m in metrics])

    def _loss(self, value: Any) -> Loss | None:
        """What the library is to minimize; None if the metric (or one of several) is no finite number."""
        return loss_of(value, self._mode or "min")

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a configuration that was evaluated elsewhere; it may hold constants of the space as well.

        What a library has no notion of (pruned trials, intermediate values) is left out for it: ``value`` counts.
        Before the searcher knows its space it takes note, and learns when it does.

        Raises:
            SearchSpaceError: if the configuration is not one of the search space.
        """
        point = Evaluated(dict(parameters), value, error, pruned, intermediate_values)
        self._evaluated.append(point)
        next_start = before_use(self)
        if next_start is not self:  # an experiment has used this searcher; the next one does not start from that
            next_start._evaluated.append(point)
        if self._started:
            self._learn_noted()

    def _learn_noted(self) -> None:
        assert self._layout is not None
        while self._evaluated:
            point = self._evaluated.pop(0)
            values = self._evaluated_values(point, self._layout)
            self._learn(values, None if point.error else self._loss(point.value), point)

    def _evaluated_values(self, point: Evaluated, layout: Layout) -> dict[str, Any]:
        values = layout.flatten(point.parameters, strict=False, where="An evaluated point")
        if missing := layout.missing(values):
            raise SearchSpaceError(
                f"An evaluated point must be complete, but sets no '{missing[0].name}': {point.parameters!r}."
            )
        return values

    def _ready(self) -> Layout:
        """Make the library's objects, once."""
        if not self._started:
            self._check()
            self._start(self._seed)
            self._started = True
            self._learn_noted()
        assert self._layout is not None
        return self._layout

    @classmethod
    def convert_search_space(cls, spec: Mapping[str, Any]) -> Any:
        """Return a search space of hpctune domains in the library's format, as far as it has one."""
        return cls(spec)._native

    @classmethod
    def library(cls, submodule: str = "") -> Any:
        """The library, or one of its modules. Raises MissingPackageError if it is not installed or broken."""
        return load(cls.package, submodule, cls.extra, cls.__name__) if cls.package else None
