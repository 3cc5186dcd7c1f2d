"""Trainables (and environments) by name, and what is known of a trainable before it runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hpctune.errors import TrainableError
from hpctune.worker.parameters import resources_of
from hpctune.worker.runners import form_of, is_class_trainable

__all__ = [
    "as_trainable",
    "get_trainable_cls",
    "is_class_trainable",
    "register_env",
    "register_trainable",
    "requested_resources",
    "trainable_name",
]

_trainables: dict[str, Any] = {}
_environments: dict[str, Callable[..., Any]] = {}


def register_trainable(name: str, trainable: Any, warn: bool = True) -> None:
    """Let ``trainable`` be named by a string. ``warn``: say so when another one had that name.

    Raises:
        TrainableError: if it is no trainable.
    """
    form_of(trainable)
    if warn and name in _trainables and _trainables[name] is not trainable:
        print(f"hpctune: the name {name!r} now means another trainable.", file=sys.stderr)
    _trainables[name] = trainable


def register_env(name: str, env_creator: Callable[..., Any]) -> None:
    """Let an environment be named by a string, for trainables that look one up.

    Raises:
        TypeError: if ``env_creator`` is not callable.
    """
    if not callable(env_creator):
        raise TypeError(f"env_creator must be callable, not {env_creator!r}.")
    _environments[name] = env_creator


def get_trainable_cls(name: str) -> Any:
    """The trainable registered as ``name``. Raises TrainableError, with the names that are known."""
    if name not in _trainables:
        known = ", ".join(sorted(_trainables)) or "none"
        raise TrainableError(
            f"No trainable is registered as {name!r}. Known are: {known}. "
            f"Register it with hpctune.register_trainable({name!r}, function_or_class)."
        )
    return _trainables[name]


def as_trainable(run: Any) -> Any:
    """The trainable that ``run`` is, or names. Raises TrainableError for anything else."""
    trainable = get_trainable_cls(run) if isinstance(run, str) else run
    form_of(trainable)
    return trainable


def trainable_name(run: Any) -> str:
    """The name under which ``run`` runs. Raises TrainableError for a lambda that was not registered."""
    if isinstance(run, str):
        get_trainable_cls(run)
        return run
    form_of(run)
    registered = next((name for name, known in _trainables.items() if known is run), None)
    function = run
    while hasattr(function, "func"):
        function = function.func
    name = registered or getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        raise TrainableError("A lambda has no name: hpctune.register_trainable('my_name', it), then use 'my_name'.")
    return str(name)


def requested_resources(trainable: Any, request: Any) -> Any:
    """What each trial asks for: ``request`` if given, else what travels with the trainable: its ``with_resources``, or
    a class's ``default_resource_request``. A request, None, or a function from the config to one."""
    if request is not None:
        return request
    bound = resources_of(trainable)
    if bound is not None:
        return bound
    if is_class_trainable(trainable) and _overridden(trainable):
        return _ClassRequest(trainable)
    return None


class _ClassRequest:
    """``cls.default_resource_request``, in a form that can be pickled."""

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def __call__(self, config: Mapping[str, Any]) -> Any:
        return self.cls.default_resource_request(dict(config))  # type: ignore[attr-defined]


def _overridden(cls: type) -> bool:
    from hpctune.worker.trainable import Trainable

    own = inspect.getattr_static(cls, "default_resource_request")
    return own is not inspect.getattr_static(Trainable, "default_resource_request")
