"""Schedulers that are written for Ray Tune's methods: they get a controller and a trial, and return words.

A method of a scheduler class may have Ray Tune's parameters or hpctune's, and may call the base class's method with
either. Which a method has is seen when its class is defined.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.decisions import CONTINUE, Decision, Pause, Stop
from hpctune.model.trial import Phase, Trial

WORDS: Mapping[str, Decision] = {
    "CONTINUE": CONTINUE,
    "NOOP": CONTINUE,
    "PAUSE": Pause("paused by its scheduler"),
    "STOP": Stop("stopped by its scheduler"),
}
"""Ray Tune's decisions."""
_ARGUMENTS = {"on_trial_add": 1, "on_trial_result": 2, "on_trial_complete": 2, "on_trial_error": 1}
"""The methods of hpctune, and how many arguments each takes."""
_REMOVE, _CHOOSE = "on_trial_remove", "choose_trial_to_run"
_STATUS = {Phase.SUBMITTING: "PENDING", Phase.QUEUED: "PENDING"}


class TrialView:
    """A trial with the attributes that Ray Tune's schedulers use. All others are those of ``value``."""

    def __init__(self, value: Trial) -> None:
        self.value = value
        self.status = _STATUS.get(value.phase, value.phase.value)
        self.config, self.last_result = dict(value.config), dict(value.last)
        self.evaluated_params, self.experiment_tag = dict(value.evaluated), value.tag

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "value"), name)

    def __eq__(self, other: object) -> bool:
        return getattr(other, "trial_id", None) == self.value.trial_id

    def __hash__(self) -> int:
        return hash(self.value.trial_id)

    def is_finished(self) -> bool:
        """Whether it has ended."""
        return self.value.phase.final


class Controller:
    """What a scheduler that is written for Ray Tune may ask: the trials of the experiment, and the searcher."""

    def __init__(self) -> None:
        self.trials: Mapping[str, Trial] = {}
        """All trials, as they are now. The engine sets it before each call."""
        self.search_alg: Any = None
        self.waiting: Sequence[Trial] = ()
        """The trials that may get the next place, while it is asked which."""
        self.idle = False
        self.ordered: list[tuple[str, Decision]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Controller, ()  # a copy belongs to another experiment

    def get_trials(self) -> list[TrialView]:
        """All trials."""
        return [TrialView(trial) for trial in self.trials.values()]

    def get_live_trials(self) -> list[TrialView]:
        """Those that have not ended."""
        return [trial for trial in self.get_trials() if not trial.is_finished()]

    def get_trial(self, trial_id: str) -> TrialView | None:
        """The trial of this id; None if there is none."""
        return TrialView(self.trials[trial_id]) if trial_id in self.trials else None

    def has_resources_for_trial(self, trial: Any) -> bool:
        """Whether the trial may get the place that is free now."""
        return any(each.trial_id == trial.trial_id for each in self.waiting)

    def stop_trial(self, trial: Any, *_: Any, **__: Any) -> None:
        """Stop a trial."""
        self.ordered.append((trial.trial_id, WORDS["STOP"]))

    def pause_trial(self, trial: Any, *_: Any, **__: Any) -> None:
        """Pause a trial."""
        self.ordered.append((trial.trial_id, WORDS["PAUSE"]))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UsageError(
            f"A scheduler asks for controller.{name}, which hpctune does not have. There are: get_trials(), "
            "get_trial(id), get_live_trials(), has_resources_for_trial(trial), stop_trial(trial), pause_trial(trial), "
            "search_alg."
        )


def controller_of(scheduler: Any) -> Controller | None:
    """The controller of a scheduler that is written for Ray Tune's methods; None for others."""
    made: Controller | None = scheduler.controller if getattr(scheduler, "needs_controller", False) else None
    return made


def _decision(answer: object) -> object:
    """A decision in Ray Tune's words, or None, as one of hpctune's."""
    if answer is None:
        return CONTINUE
    return WORDS.get(answer, answer) if isinstance(answer, str) else answer


def adapt(cls: type[Any]) -> None:
    """Let the methods that ``cls`` defines take the calls of both forms. Raises UsageError for any other form."""
    for name, count in _ARGUMENTS.items():
        function = vars(cls).get(name)
        if inspect.isfunction(function):
            setattr(cls, name, _both_forms(cls, name, function, count))
    if inspect.isfunction(vars(cls).get(_CHOOSE)) and not vars(cls)[_CHOOSE].__module__.startswith("hpctune."):
        _adapt_choice(cls)
    if _REMOVE in vars(cls):
        cls.needs_controller = True


def _both_forms(cls: type[Any], name: str, function: Callable[..., Any], count: int) -> Callable[..., Any]:
    given = _positional(function)
    if given == count:

        @functools.wraps(function)
        def own(self: Any, *arguments: Any, **named: Any) -> Any:
            if len(arguments) > count:  # super().on_trial_result(controller, trial, result)
                arguments = (_plain(arguments[1]), *arguments[2:])
            answer = function(self, *arguments, **named)
            return WORDS.get(answer, answer) if isinstance(answer, str) else answer

        return own
    if given != count + 1 and given is not None:
        raise UsageError(
            f"{cls.__name__}.{name} takes {given} arguments. hpctune calls it with (trial{', row' * (count > 1)}), or, "
            f"as Ray Tune does, with (controller, trial{', result' * (count > 1)})."
        )
    cls.needs_controller = True

    @functools.wraps(function)
    def rays(self: Any, *arguments: Any, **named: Any) -> Any:
        if len(arguments) > count:
            return _decision(function(self, *arguments, **named))
        trial, *rest = arguments
        view = TrialView(_plain(trial))
        removed = getattr(self, _REMOVE, None)
        if name == "on_trial_complete" and removed is not None and not view.value.attempts:
            return removed(self.controller, view)  # it has never run
        return _decision(function(self, self.controller, view, *(dict(each) for each in rest), **named))

    return rays


def _positional(function: Callable[..., Any]) -> int | None:
    """How many positional arguments the method takes after ``self``; None: any number."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return len([p for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty])


def _plain(trial: Any) -> Any:
    """The frozen value of a view."""
    return trial if isinstance(trial, Trial) else getattr(trial, "value", trial)


def _adapt_choice(cls: type[Any]) -> None:
    chosen = vars(cls)[_CHOOSE]
    cls.needs_controller = True

    def choose(self: Any, waiting: Sequence[Trial], *, idle: bool) -> str | None:
        self.controller.waiting, self.controller.idle = waiting, idle
        try:
            trial = chosen(self, self.controller)
        finally:
            self.controller.waiting = ()
        if trial is None:
            return None
        return trial.trial_id if any(each.trial_id == trial.trial_id for each in waiting) else None

    choose.rays = True  # type: ignore[attr-defined]
    cls.choose = choose


def base_choice(scheduler: Any, controller: Controller) -> TrialView | None:
    """What the nearest base class that is not written for Ray Tune would choose."""
    for cls in type(scheduler).__mro__:
        choose = vars(cls).get("choose")
        if choose is not None and not getattr(choose, "rays", False):
            found = choose(scheduler, controller.waiting, idle=controller.idle)
            return None if found is None else controller.get_trial(found)
    return None
