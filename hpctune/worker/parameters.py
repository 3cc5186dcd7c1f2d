"""``with_parameters`` and ``with_resources``: large objects and resource requests attached to a trainable."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hpctune.common.text import count
from hpctune.errors import TrainableError, UsageError
from hpctune.model.resources import PlacementGroupFactory, Resources
from hpctune.storage.objects import Parameter
from hpctune.worker.command import Command
from hpctune.worker.ranks.trainable import DistributedTrainable


class BoundTrainable:
    """A function trainable with parameters and a request; it is called like the function, without the parameters."""

    def __init__(self, function: Callable[..., Any], parameters: Mapping[str, Parameter], resources: Any) -> None:
        self.function, self.parameters, self.resources = function, dict(parameters), resources
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = getattr(function, "__doc__", None)
        self.__module__ = getattr(function, "__module__", __name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs, **{name: p.get() for name, p in self.parameters.items()})

    @property
    def __signature__(self) -> inspect.Signature:
        """The function's signature without the bound parameters."""
        signature = inspect.signature(self.function)
        free = [p for p in signature.parameters.values() if p.name not in self.parameters]
        return signature.replace(parameters=free)


def with_parameters(trainable: Any, **kwargs: Any) -> Any:
    """Give a function or class trainable large objects (data sets, models) as keyword arguments.

    They are written once to the experiment directory, not once per trial. Each worker reads them at first use. Numpy
    arrays are mapped into memory, read-only. A function gets them as keyword arguments, a class in ``setup``.

    Raises:
        TrainableError: if ``trainable`` is neither a function nor a class, or does not take these arguments.
    """
    if isinstance(trainable, Command):
        raise TrainableError("with_parameters is for functions and classes; a Command gets its parameters as text.")
    if isinstance(trainable, DistributedTrainable):
        return replace(trainable, function=with_parameters(trainable.function, **kwargs))
    if not callable(trainable):
        raise TrainableError(f"with_parameters takes a function or a Trainable class, not {trainable!r}.")
    parameters = {name: Parameter(value) for name, value in kwargs.items()}
    if inspect.isclass(trainable):
        return _bind_class(trainable, parameters)
    _check_accepts(trainable, kwargs, getattr(trainable, "__name__", "the function"))
    if isinstance(trainable, BoundTrainable):
        return BoundTrainable(trainable.function, {**trainable.parameters, **parameters}, trainable.resources)
    return BoundTrainable(trainable, parameters, None)


def _bind_class(cls: Any, parameters: Mapping[str, Parameter]) -> type:
    if not hasattr(cls, "setup"):
        raise TrainableError(
            f"{cls.__name__} is a class that is not derived from hpctune.Trainable. Derive it from hpctune.Trainable."
        )
    _check_accepts(cls.setup, parameters, f"{cls.__name__}.setup")

    def setup(self: Any, config: dict[str, Any], **more: Any) -> None:
        cls.setup(self, config, **{name: p.get() for name, p in parameters.items()}, **more)

    members = {"setup": setup, "__module__": cls.__module__, "__doc__": cls.__doc__}
    bound: type = type(cls.__name__, (cls,), members)
    return bound


def _check_accepts(function: Callable[..., Any], names: Mapping[str, Any], what: str) -> None:
    signature = inspect.signature(function)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values()):
        return
    unknown = [name for name in names if name not in signature.parameters]
    if unknown:
        raise TrainableError(
            f"{what} takes no argument {unknown[0]!r}. Its arguments: {', '.join(signature.parameters)}."
        )


def with_resources(trainable: Any, resources: Any) -> Any:
    """Set the request of each trial of this trainable: a dict such as ``{"cpu": 2, "gpu": 1}``, a
    PlacementGroupFactory, a ScalingConfig, or a function from the trial's config to one of them.

    Raises:
        UsageError: if the request is of another type.
        TrainableError: if ``trainable`` is not a trainable.
    """
    if not (callable(trainable) or isinstance(trainable, (Command, DistributedTrainable))):
        raise TrainableError(f"with_resources takes a function, a Trainable class or a Command, not {trainable!r}.")
    if hasattr(resources, "as_placement_group_factory"):
        resources = resources.as_placement_group_factory()
    if not isinstance(resources, (Mapping, PlacementGroupFactory)) and not callable(resources):
        raise UsageError(
            f"resources must be a dict, a PlacementGroupFactory or a function of the config, not {resources!r}."
        )
    if not callable(resources) or isinstance(resources, PlacementGroupFactory):
        Resources.parse(resources)
    if isinstance(trainable, DistributedTrainable) and isinstance(resources, Mapping):
        raise UsageError(
            f"A distributed trial has {count(trainable.per_bundle, 'process', 'processes')} for each bundle of its "
            f"resources. Give a PlacementGroupFactory with so many bundles, not {dict(resources)!r}."
        )
    if isinstance(trainable, (Command, DistributedTrainable)):
        return replace(trainable, resources=resources)
    if inspect.isclass(trainable):
        request = staticmethod(resources) if inspect.isroutine(resources) else resources
        members = {"_hpctune_resources": request, "__module__": trainable.__module__, "__doc__": trainable.__doc__}
        return type(trainable.__name__, (trainable,), members)
    if isinstance(trainable, BoundTrainable):
        return BoundTrainable(trainable.function, trainable.parameters, resources)
    return BoundTrainable(trainable, {}, resources)


def wrap_function(train_func: Callable[..., Any], name: str | None = None) -> BoundTrainable:
    """Make the function a trainable called ``name``. Not needed in hpctune; it exists for scripts that call it."""
    wrapped = BoundTrainable(train_func, {}, resources_of(train_func))
    if name is not None:
        wrapped.__name__ = name
    return wrapped


def resources_of(trainable: Any) -> Any:
    """The request attached to a trainable, or None."""
    if isinstance(trainable, (BoundTrainable, Command, DistributedTrainable)):
        return trainable.resources
    return getattr(trainable, "_hpctune_resources", None)


def pin_in_object_store(obj: Any) -> Parameter:
    """Ray Tune 0.x: make a handle to a large object; a trainable reads it with :func:`get_pinned_object`."""
    return Parameter(obj)


def get_pinned_object(pinned: Parameter) -> Any:
    """The object behind a handle."""
    return pinned.get()
