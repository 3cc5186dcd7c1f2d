"""Search with Optuna: tree-structured Parzen estimators, and every other sampler that Optuna has."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpctune.errors import SearchSpaceError, UsageError
from hpctune.search.adapters.library import LibrarySearcher
from hpctune.search.adapters.objective import Loss
from hpctune.search.adapters.parameters import Layout, NamedValues, Parameter
from hpctune.search.adapters.points import Evaluated
from hpctune.search.adapters.unit import snapped
from hpctune.space import Categorical, Domain, Float, Integer, LogUniform, Normal, Quantized, flatten_dict

if TYPE_CHECKING:
    import optuna
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

    Space = Mapping[str, Any] | Callable[[optuna.Trial], Mapping[str, Any] | None]

_OWNER = "hpctune_trial_id"
"""The user attribute that says which of our trials a trial in a storage is."""


class OptunaSearch(LibrarySearcher):
    """Asks an Optuna study for configurations.

    Several metrics are optimized at once if ``metric`` and ``mode`` are lists of the same length. Intermediate
    results of a single metric are reported to the study, with the training iteration as the step. A trial that failed,
    or has no finite metric, is told as pruned, so that it counts as bad: what Optuna calls failed does not count, which
    draws its samplers to where trials fail.

    Args:
        space: hpctune domains; or Optuna distributions by name; or a define-by-run function, which calls
            ``trial.suggest_...`` and may return a dict of constants to add. None: the space of the experiment.
        metric: The reported value to optimize, or a list of them.
        mode: "min" or "max", or a list of as many.
        points_to_evaluate: Configurations to try first; Optuna chooses what one leaves open.
        sampler: An Optuna sampler; None: a TPESampler with ``seed``. Seed a sampler of your own yourself.
        study_name: The name of the study in the storage.
        storage: An Optuna storage, or its URL; None: in memory. The trials of a stored study are learned from.
        seed: None: the experiment's.
        evaluated_rewards: The metrics of ``points_to_evaluate``, which are then learned from and not tried.

    Raises:
        UsageError: if an argument is of the wrong kind, or both a sampler and a seed are given.
        MissingPackageError: without the package optuna.
    """

    package = "optuna"
    extra = "optuna"
    conditional = True
    several_metrics = True
    completes_points = True

    @property
    def _ot_study(self) -> optuna.Study | None:
        """The study, under the name that Ray Tune gives it."""
        return self._study

    def __init__(
        self,
        space: Space | None = None,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        sampler: BaseSampler | None = None,
        study_name: str | None = None,
        storage: BaseStorage | str | None = None,
        seed: int | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
    ) -> None:
        ot = self.library()
        if sampler is not None and not isinstance(sampler, ot.samplers.BaseSampler):
            raise UsageError(f"sampler takes an instance of an Optuna sampler, not {sampler!r}.")
        if sampler is not None and seed is not None:
            raise UsageError("A sampler has a seed of its own: give it to the sampler, and leave out seed=.")
        if storage is not None and not isinstance(storage, (str, ot.storages.BaseStorage)):
            raise UsageError(f"storage takes an Optuna storage or its URL, not {storage!r}.")
        self._sampler, self._storage = sampler, storage
        self._study_name = study_name or "optuna"
        self._define: Callable[..., Any] | None = None
        self._study: optuna.Study | None = None
        self._trials: dict[str, optuna.Trial] = {}
        self._space = space  # FLAML's BlendSearch reads it
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)

    # -- the space --------------------------------------------------------------------------------------------

    def _convert(self, parameter: Parameter) -> Any:
        made = distribution(parameter.domain)
        if made is None:
            raise self._unsupported(
                parameter, "Use uniform, for example over the mean and three times sd on each side."
            )
        return made

    def _take_native(self, space: Any) -> Layout:
        if callable(space):
            self._define = space
            return NamedValues()
        base = self.library("distributions").BaseDistribution
        flat = flatten_dict(space) if isinstance(space, Mapping) else {}
        odd = [name for name, value in flat.items() if not isinstance(value, base)]
        if odd or not flat:
            raise SearchSpaceError(
                "The space of OptunaSearch holds hpctune domains, or Optuna distributions only, or is a function of an "
                f"Optuna trial; not {space!r}."
            )
        self._native = flat
        return NamedValues(flat)

    def _native_accepts(self, name: str, value: Any) -> bool:
        if self._define is not None:
            return True
        distribution = self._native[name]
        try:
            return bool(distribution._contains(distribution.to_internal_repr(value)))
        except (TypeError, ValueError):
            return False

    def _tried_point(self, config: Mapping[str, Any], layout: Layout) -> int | None:
        """In their order if a function defines the space: it may not have asked for what a point sets."""
        if self._define is not None:
            return 0 if self._points else None
        return super()._tried_point(config, layout)

    # -- the study --------------------------------------------------------------------------------------------

    def _start(self, seed: int | None) -> None:
        ot = self.library()
        modes = [self._mode] if isinstance(self._mode, str) else list(self._mode or ())
        with _quiet(ot):
            self._study = ot.create_study(
                storage=self._storage,
                sampler=copy.deepcopy(self._sampler) or ot.samplers.TPESampler(seed=seed),
                pruner=ot.pruners.NopPruner(),
                study_name=self._study_name,
                directions=["minimize" if mode == "min" else "maximize" for mode in modes],
                load_if_exists=True,
            )

    @property
    def study(self) -> optuna.Study:
        """The Optuna study, of the newest experiment if there was one: for its plots and statistics."""
        used = self.used
        assert isinstance(used, OptunaSearch)
        used._ready()
        assert used._study is not None
        return used._study

    def _ask(self, trial_id: str) -> dict[str, Any]:
        assert self._study is not None
        if self._define is not None or any(parameter.condition for parameter in self.parameters):
            trial = self._study.ask()
        else:
            trial = self._study.ask(fixed_distributions=self._native)
        self._trials[trial_id] = trial
        if self._storage is not None:
            trial.set_user_attr(_OWNER, trial_id)
        return self._values_of(trial)

    def _values_of(self, trial: optuna.Trial) -> dict[str, Any]:
        """The values that Optuna chooses for a trial, parents before what depends on them."""
        if self._define is not None:
            constants = self._define(trial)
            if constants is not None and not isinstance(constants, Mapping):
                raise UsageError(f"A define-by-run function returns a dict of constants or None, not {constants!r}.")
            return {**trial.params, **(constants or {})}
        if not self.parameters:
            return dict(trial.params)
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.active(values):
                values[parameter.name] = _ours(parameter, _suggest(trial, parameter.name, self._native[parameter.name]))
        return values

    def _adopt(self, trial_id: str, values: dict[str, Any]) -> dict[str, Any]:
        assert self._study is not None
        if (asked := self._trials.pop(trial_id, None)) is not None:
            self._study.tell(asked, state=self.library("trial").TrialState.FAIL)
        self._study.enqueue_trial(self._theirs(values))
        return self._ask(trial_id)

    def _theirs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values in Optuna's form."""
        by_name = {parameter.name: parameter for parameter in self.parameters}
        return {name: _optunas(by_name[name], value) if by_name else value for name, value in values.items()}

    def on_suggestion_replayed(self, trial_id: str, config: dict[str, Any]) -> None:
        """Ask for the suggestion again; in a storage that outlives the driver, find the trial that was made."""
        if self._storage is None or not self._attach(trial_id, config):
            super().on_suggestion_replayed(trial_id, config)

    def _attach(self, trial_id: str, config: dict[str, Any]) -> bool:
        layout = self._ready()
        assert self._study is not None
        found = [each for each in self._study.get_trials(deepcopy=False) if each.user_attrs.get(_OWNER) == trial_id]
        if not found:
            return False
        if (number := self._tried_point(config, layout)) is not None:
            del self._points[number]
            self._taken_points += 1
        self._study.sampler.reseed_rng()  # or its first suggestions would come once more
        if not found[-1].state.is_finished():
            self._trials[trial_id] = self.library("trial").Trial(self._study, found[-1]._trial_id)
        self._pending[trial_id] = layout.flatten(config, strict=False, where="The recorded configuration")
        return True

    # -- results ----------------------------------------------------------------------------------------------

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Report an intermediate result to the study, if there is one metric."""
        trial, step = self._trials.get(trial_id), result.get("training_iteration")
        loss = self._loss_of(result)
        if trial is None or trial_id not in self._pending or step is None or not isinstance(loss, float):
            return
        if int(step) not in trial.storage.get_trial(trial._trial_id).intermediate_values:
            trial.report(self._metric_of(loss), int(step))

    def _tell(self, trial_id: str, values: dict[str, Any], loss: Loss | None) -> None:
        trial = self._trials.pop(trial_id, None)
        if trial is None:  # found complete in a storage
            return
        assert self._study is not None
        if loss is None:
            self._study.tell(trial, state=self.library("trial").TrialState.PRUNED)
        else:
            self._study.tell(trial, self._metric_of(loss))

    def _metric_of(self, loss: Loss) -> Any:
        """The metric that a loss was made of: Optuna knows directions itself."""
        if isinstance(loss, float):
            return -loss if self._mode == "max" else loss
        return [-each if mode == "max" else each for each, mode in zip(loss, self._mode or (), strict=True)]

    def _learn(self, values: dict[str, Any], loss: Loss | None, point: Evaluated) -> None:
        assert self._study is not None
        states = self.library("trial").TrialState
        state = states.PRUNED if loss is None or point.pruned else states.COMPLETE
        params = self._theirs(values)
        if self._define is not None:
            self._study.enqueue_trial(params)
            trial = self._study.ask()
            self._define(trial)
            for step, value in enumerate(point.intermediate_values or ()):
                trial.report(value, step)
            told = None if state is not states.COMPLETE or loss is None else self._metric_of(loss)
            self._study.tell(trial, told, state=state)
            return
        metrics = None if loss is None else self._metric_of(loss)
        self._study.add_trial(
            self.library("trial").create_trial(
                state=state,
                values=metrics if isinstance(metrics, list) or metrics is None else [metrics],
                params=params,
                distributions={name: self._native[name] for name in params},
                intermediate_values=dict(enumerate(point.intermediate_values or ())),
            )
        )


def distribution(domain: Domain) -> Any:
    """The Optuna distribution of a domain; None if there is none."""
    from optuna import distributions as to

    match domain:
        case Categorical():
            options = domain.categories
            return to.CategoricalDistribution(options if _plain_options(domain) else range(len(options)))
        case Integer() if isinstance(domain.exact_sampler(), LogUniform):
            return to.IntDistribution(domain.smallest, domain.largest, log=True)
        case Integer():
            return to.IntDistribution(domain.smallest, domain.largest, step=domain.step)
        case Float() if not isinstance(domain.exact_sampler(), Normal):
            log = isinstance(domain.exact_sampler(), LogUniform)
            step = domain.sampler.q if isinstance(domain.sampler, Quantized) and not log else None
            return to.FloatDistribution(domain.lower, domain.upper, log=log, step=step)
    return None


def _by_value(parameter: Parameter) -> bool:
    assert isinstance(parameter.domain, Categorical)
    return _plain_options(parameter.domain)


def _plain_options(domain: Categorical) -> bool:
    """Whether Optuna gets the options of a choice themselves, which must be simple and differ; else their numbers."""
    options = domain.categories
    simple = all(option is None or isinstance(option, (bool, int, float, str)) for option in options)
    return simple and len(set(options)) == len(options)


def _ours(parameter: Parameter, value: Any) -> Any:
    if parameter.options:
        return value if _by_value(parameter) else parameter.value(value)
    return snapped(parameter.domain, value)


def _optunas(parameter: Parameter, value: Any) -> Any:
    if parameter.options and not _by_value(parameter):
        return parameter.option(value)
    return value


def _suggest(trial: optuna.Trial, name: str, distribution: Any) -> Any:
    if hasattr(distribution, "choices"):
        return trial.suggest_categorical(name, distribution.choices)
    suggest: Any = trial.suggest_int if type(distribution).__name__ == "IntDistribution" else trial.suggest_float
    return suggest(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


@contextmanager
def _quiet(ot: Any) -> Iterator[None]:
    """No line about the new study."""
    verbosity = ot.logging.get_verbosity()
    ot.logging.set_verbosity(ot.logging.WARNING)
    try:
        yield
    finally:
        ot.logging.set_verbosity(verbosity)
