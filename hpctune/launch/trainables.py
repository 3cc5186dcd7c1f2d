"""Trainables: their registry, their names, and the resources that they request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hpctune.common.log import log
from hpctune.errors import TrainableError, UsageError
from hpctune.worker import Command, Trainable, form_of, is_class_trainable, resources_of

_registered: dict[str, Any] = {}


def register_trainable(name: str, trainable: Any, warn: bool = True) -> None:
    """Register a trainable under ``name``: a function, a class derived from Trainable, or a Command.

    A later registration replaces an earlier one; with ``warn`` there is a warning if they differ. Raises TrainableError
    if the object is not a trainable, UsageError for an invalid name.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"A trainable's name must be a string, not {name!r}.")
    form_of(trainable)
    before = _registered.get(name)
    if warn and before is not None and before is not trainable:
        log.warning(f"The trainable {name!r} was registered before; the new one replaces it.")
    _registered[name] = trainable


def register_env(name: str, env_creator: Callable[..., Any]) -> None:
    """Say that only RLlib asks for environments by name, and that it is not here. Raises TrainableError if
    ``env_creator`` cannot be called."""
    if not callable(env_creator):
        raise TrainableError(f"register_env({name!r}, ...) needs a function that makes the environment.")
    log.warning(
        f"The environment {name!r} is registered for nobody: only RLlib asks for it, which does not run on hpctune. "
        "Make the environment in your trainable."
    )


def get_trainable_cls(trainable_name: str) -> Any:
    """The trainable that is registered as ``trainable_name``. Raises TrainableError if there is none."""
    return as_trainable(trainable_name)


def validate_trainable(trainable_name: str) -> None:
    """Raise TrainableError if no trainable is registered as ``trainable_name``."""
    as_trainable(trainable_name)


def is_function_trainable(trainable: Any) -> bool:
    """Whether it is, or names, a function."""
    found = as_trainable(trainable)
    return not is_class_trainable(found) and not isinstance(found, Command)


def as_trainable(run: Any) -> Any:
    """The trainable that ``run`` is or names. Raises TrainableError if there is none."""
    if isinstance(run, str):
        if run not in _registered:
            known = ", ".join(sorted(_registered)) or "none"
            raise TrainableError(
                f"No trainable is registered as {run!r} (registered: {known}). Register it first: "
                f"hpctune.register_trainable({run!r}, function_or_class)"
            )
        return _registered[run]
    form_of(run)
    if isinstance(run, Command):
        run.check_files()
    return run


def trainable_name(run: Any) -> str:
    """A name for ``run`` that is valid for directories. Raises TrainableError if ``run`` is not a trainable."""
    if isinstance(run, str):
        return run
    form_of(run)
    named = run
    while isinstance(named, partial):
        named = named.func
    name = getattr(named, "__name__", None) or type(named).__name__
    return re.sub(r"[^\w.-]+", "_", str(name)).strip("_") or "trainable"


def requested_resources(trainable: Any, given: Any) -> Any:
    """The resources of each trial, in the form of DriverSetup: ``given``, else those that the trainable requests.

    Raises UsageError if both are set.
    """
    own = resources_of(trainable)
    if own is not None:
        if given is not None:
            raise UsageError("resources_per_trial and with_resources(...) both set the resources. Remove one of them.")
        return own
    if is_class_trainable(trainable) and _overrides_request(trainable):
        return _ClassRequest(trainable, given)
    return given


def _overrides_request(cls: type[Trainable]) -> bool:
    own, base = cls.default_resource_request, Trainable.default_resource_request
    return getattr(own, "__func__", own) is not getattr(base, "__func__", base)


class _ClassRequest:
    """The resources from a class's ``default_resource_request``, else the given ones."""

    def __init__(self, cls: type[Trainable], given: Any) -> None:
        self.cls, self.given = cls, given

    def __call__(self, config: Mapping[str, Any]) -> Any:
        own = self.cls.default_resource_request(dict(config))
        given = self.given(config) if callable(self.given) else self.given
        if own is not None and given is not None:
            raise UsageError(
                f"{self.cls.__name__}.default_resource_request and resources_per_trial both set the resources. "
                "Remove resources_per_trial."
            )
        return given if own is None else own
