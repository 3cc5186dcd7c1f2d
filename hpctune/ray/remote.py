"""``@ray.remote``: tasks and actors run in the process that calls them, one after the other, when they are called.

The results are those that Ray's processes give, later and in parallel. What would not be the same is refused, with the
line at which it is.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from hpctune.errors import UsageError
from hpctune.ray.core import ObjectRef
from hpctune.ray.exceptions import ActorDiedError, RayTaskError
from hpctune.ray.machine import get_gpu_ids

_OURS = str(Path(__file__).parent)
_OPTIONS = frozenset({
    "num_cpus", "num_gpus", "memory", "object_store_memory", "resources", "accelerator_type", "num_returns",
    "max_calls", "max_retries", "retry_exceptions", "runtime_env", "scheduling_strategy", "placement_group",
    "placement_group_bundle_index", "placement_group_capture_child_tasks", "name", "namespace", "lifetime",
    "max_restarts", "max_task_retries", "max_pending_calls", "max_concurrency", "concurrency_groups",
    "get_if_exists", "label_selector", "fallback_strategy", "enable_task_events", "allow_out_of_order_execution",
    "_metadata", "_max_retries", "_generator_backpressure_num_objects",
})  # fmt: skip
_named: dict[str, ActorHandle] = {}


def remote(*args: Any, **options: Any) -> Any:
    """Make a remote function of a function, or a class of actors of a class: ``@ray.remote`` or
    ``@ray.remote(num_cpus=2)``."""
    if len(args) == 1 and not options and callable(args[0]):
        return _made(args[0], {})
    if args:
        raise TypeError("@ray.remote takes a function or a class, or options by name: @ray.remote(num_cpus=2).")
    _check(options)
    return lambda target: _made(target, options)


def _made(target: Any, options: Mapping[str, Any]) -> RemoteFunction | ActorClass:
    if inspect.isclass(target):
        return ActorClass(target, options)
    if not callable(target):
        raise TypeError(f"@ray.remote takes a function or a class, not {target!r}.")
    return RemoteFunction(target, options)


def _check(options: Mapping[str, Any]) -> None:
    unknown = sorted({*options}.difference(_OPTIONS))
    if unknown:
        raise ValueError(f"ray.remote has no option {', '.join(unknown)}. Valid are: {', '.join(sorted(_OPTIONS))}.")
    if (options.get("num_gpus") or 0) > 0 and not get_gpu_ids():
        _refuse(f"num_gpus={options['num_gpus']}", "tasks and actors run in this process, which has no GPU")
    if (options.get("max_concurrency") or 1) > 1:
        _refuse(f"max_concurrency={options['max_concurrency']}", "calls of an actor run one after the other")


def _refuse(what: str, why: str) -> NoReturn:
    raise UsageError(
        f"{users_line()}: {what} of @ray.remote cannot be had: {why}. Do this work in the trainable, which is a job of "
        "its own, or run the script with Ray itself: hpctune run --ray installed"
    )


def users_line() -> str:
    """The user's line that is being executed."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith((_OURS, "<")):
            return f"{frame.filename}, line {frame.lineno}"
    return "this process"


def _values(args: Any, kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    def value(each: Any) -> Any:
        return each.get() if isinstance(each, ObjectRef) else each

    return [value(each) for each in args], {name: value(each) for name, each in kwargs.items()}


def _called(name: str, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], returns: Any) -> Any:
    """Call it now; the reference holds the value or the exception."""
    many = returns if isinstance(returns, int) and not isinstance(returns, bool) else 1
    try:
        given, named = _values(args, kwargs)
        value = function(*given, **named)
        if inspect.isgenerator(value):
            return ObjectRefGenerator([ObjectRef(each) for each in value])
        if many > 1:
            parts = list(value)
            if len(parts) != many:
                raise ValueError(f"{name} returned {len(parts)} values; num_returns is {many}.")
            return [ObjectRef(part) for part in parts]
    except Exception as error:
        cause = error if isinstance(error, RayTaskError) else RayTaskError.of(name, error).as_instanceof_cause()
        failed = ObjectRef(error=cause)
        return [failed] * many if many > 1 else failed
    return None if many == 0 else ObjectRef(value)


class ObjectRefGenerator:
    """The references that a remote generator has yielded."""

    def __init__(self, refs: list[ObjectRef]) -> None:
        self._refs = iter(refs)

    def __iter__(self) -> Iterator[ObjectRef]:
        return self._refs

    def __next__(self) -> ObjectRef:
        return next(self._refs)


class RemoteFunction:
    """A function with ``remote``."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        if inspect.iscoroutinefunction(function):
            _refuse("a coroutine function", "functions run to their end when they are called")
        self._function, self._options = function, dict(options)
        functools.update_wrapper(self, function)

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call it now. Returns a reference to its value, or to its exception."""
        return _called(self._name, self._function, args, kwargs, self._options.get("num_returns"))

    def options(self, **options: Any) -> RemoteFunction:
        """The same function with other options."""
        _check(options)
        return RemoteFunction(self._function, {**self._options, **options})

    @property
    def _name(self) -> str:
        return getattr(self._function, "__name__", type(self._function).__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"Remote functions cannot be called directly. Instead of {self._name}(), {self._name}.remote()."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFunction, (self._function, self._options)


class ActorClass:
    """A class with ``remote``."""

    def __init__(self, cls: type, options: Mapping[str, Any]) -> None:
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            if inspect.iscoroutinefunction(method):
                _refuse(f"the coroutine method {cls.__name__}.{name}", "calls of an actor run one after the other")
        self._cls, self._options = cls, dict(options)
        functools.update_wrapper(self, cls, updated=())

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle:
        """Make an actor. Raises what its ``__init__`` raises."""
        name = self._options.get("name")
        if name in _named:
            if self._options.get("get_if_exists"):
                return _named[name]
            raise ValueError(f"There is an actor {name!r} already: ray.get_actor({name!r}).")
        given, named = _values(args, kwargs)
        handle = ActorHandle(self._cls(*given, **named), users_line())
        if name is not None:
            _named[name] = handle
        return handle

    def options(self, **options: Any) -> ActorClass:
        """The same class with other options."""
        _check(options)
        return ActorClass(self._cls, {**self._options, **options})

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        name = self._cls.__name__
        raise TypeError(f"Actors cannot be made directly. Instead of {name}(), {name}.remote().")

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorClass, (self._cls, self._options)


class ActorHandle:
    """An actor. It lives in this process, so it cannot be sent to a job."""

    def __init__(self, actor: Any, made_at: str) -> None:
        self._actor, self._made_at, self._dead = actor, made_at, False

    def __getattr__(self, name: str) -> ActorMethod:
        if name.startswith("__"):
            raise AttributeError(name)
        if not callable(getattr(type(self._actor), name, None)):
            raise AttributeError(f"{type(self._actor).__name__!r} has no method {name!r}.")
        return ActorMethod(self, name)

    def __repr__(self) -> str:
        return f"Actor({type(self._actor).__name__})"

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            f"{self._made_at}: the actor {type(self._actor).__name__} lives in the process that made it, and cannot be "
            "sent to a trial, which is a job of its own. Give the trial data with tune.with_parameters, let it report "
            "with tune.report, or run the script with Ray itself: hpctune run --ray installed"
        )


class ActorMethod:
    """A method of an actor."""

    def __init__(self, handle: ActorHandle, name: str, returns: Any = None) -> None:
        self._handle, self._name, self._returns = handle, name, returns

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call it now. Returns a reference to its value, or to its exception."""
        handle = vars(self._handle)
        if handle["_dead"]:
            return ObjectRef(error=ActorDiedError(f"The actor {type(handle['_actor']).__name__} was killed."))
        function = getattr(handle["_actor"], self._name)
        returns = self._returns or getattr(function, "__ray_num_returns__", None)
        return _called(f"{type(handle['_actor']).__name__}.{self._name}", function, args, kwargs, returns)

    def options(self, **options: Any) -> ActorMethod:
        """The same method with other options."""
        _check(options)
        return ActorMethod(self._handle, self._name, options.get("num_returns"))


def method(**options: Any) -> Callable[[Any], Any]:
    """``@ray.method(num_returns=2)`` on a method of an actor."""
    _check(options)

    def mark(function: Any) -> Any:
        function.__ray_num_returns__ = options.get("num_returns")
        return function

    return mark


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """The actor of this name. Raises ValueError if this process has made none."""
    if name not in _named:
        raise ValueError(
            f"{users_line()}: there is no actor {name!r} in this process. Actors live in the process that made them; a "
            "trial is a process of its own, and reports with tune.report."
        )
    return _named[name]


def named_actors() -> list[str]:
    """Their names."""
    return sorted(_named)


def kill(actor: ActorHandle, *, no_restart: bool = True) -> None:
    """End an actor: later calls fail."""
    if not isinstance(actor, ActorHandle):
        raise ValueError(f"ray.kill() takes an actor, not {actor!r}.")
    vars(actor)["_dead"] = True
    for name in [name for name, each in _named.items() if each is actor]:
        del _named[name]


def forget_actors() -> None:
    """End all that have names."""
    for actor in list(_named.values()):
        kill(actor)
