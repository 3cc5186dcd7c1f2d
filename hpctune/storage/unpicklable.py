"""Finds the part of a value that is at fault: one that cannot be pickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, MethodType
from typing import Any

from hpctune.usercode.namespace import code_names

DEPTH = 5


def find_unpicklable(value: Any) -> str:
    """The innermost named part that cannot be pickled: a closure's variable, a global, an attribute; "" if none."""
    return find_part(value, picklable)


def find_part(
    value: Any, good: Callable[[Any], bool], enter: Callable[[Any], bool] = lambda part: True, depth: int = DEPTH
) -> str:
    """The innermost named part that is not ``good``; "" if all are. ``enter``: whose parts are looked at."""
    for name, inner in _parts(value):
        if not good(inner):
            deeper = find_part(inner, good, enter, depth - 1) if depth and enter(inner) else ""
            return deeper or f"{name} = {_shown(inner)}"
    return ""


def picklable(value: Any) -> bool:
    """Whether ``value`` can be pickled, if needed by value."""
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception:
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, partial):
        yield from (("the function", value.func), *((f"argument {i}", v) for i, v in enumerate(value.args)))
        yield from value.keywords.items()
    elif isinstance(value, MethodType):
        yield from (("self", value.__self__), ("the method", value.__func__))
    elif isinstance(getattr(value, "__code__", None), CodeType):
        yield from _of_function(value)
    elif isinstance(value, dict):
        yield from ((str(k), v) for k, v in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"item {i}", v) for i, v in enumerate(value))
    else:
        name = getattr(value, "__name__", type(value).__name__)
        slots = [s for c in type(value).__mro__ for s in getattr(c, "__slots__", ())]
        members = {**getattr(value, "__dict__", {}), **{s: getattr(value, s, None) for s in slots}}
        yield from ((f"{name}.{k}", _plain(v)) for k, v in members.items() if _own(k))


def _own(name: str) -> bool:
    return name in ("__init__", "__call__") or not name.startswith("__")


def _plain(member: Any) -> Any:
    return member.__func__ if isinstance(member, (staticmethod, classmethod)) else member


def _of_function(function: Any) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # the variable has no value yet
            continue
    for name in code_names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for number, default in enumerate(function.__defaults__ or ()):
        yield f"default value {number}", default
    yield from (function.__kwdefaults__ or {}).items()


def _shown(value: Any) -> str:
    try:
        return repr(value)[:80]
    except Exception:
        return f"a {type(value).__name__}"
