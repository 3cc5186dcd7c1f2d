"""Selection of the script's names that are sent to jobs, besides those that the trainable uses.

The trainable's own names travel in any case, whatever they stand for. Some are only found when it runs: by a pickle, by
``globals()``, by annotations that are text. So all that the script defines or imports travels as well, and values that
are small; what cannot is left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

_ATOMS = frozenset({type(None), bool, int, float, complex, range, slice, type(Ellipsis)})
_CONTAINERS = frozenset({list, tuple, set, frozenset})
_SMALL_BY_NATURE = frozenset({
    "argparse", "datetime", "decimal", "enum", "fractions", "logging", "pathlib", "re", "types", "typing", "uuid",
})  # fmt: skip
"""Modules of classes whose objects are small."""
MAX_TEXT, MAX_ITEMS, DEEPEST = 10_000, 1_000, 4
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(slots=True)
class Namespace:
    """``definitions``: functions, classes, small values. ``imports``: by name the module, and what of it ("": itself);
    ``used``: those of them that the script's own definitions mention."""

    definitions: dict[str, Any] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)


def namespace(main: ModuleType) -> Namespace:
    """What of ``main`` travels."""
    found = Namespace()
    for name, value in list(vars(main).items()):
        if name.startswith("__") and name.endswith("__"):
            continue
        place = _place(value)
        if place is not None:
            found.imports[name] = place
        elif _defined_here(value) or _small(value):
            found.definitions[name] = value
    mentioned = {word for value in found.definitions.values() for word in _mentions(value)}
    found.used = mentioned.intersection(found.imports)
    return found


def _defined_here(value: Any) -> bool:
    return (isinstance(value, type) or callable(value)) and getattr(value, "__module__", None) == "__main__"


def _place(value: Any) -> tuple[str, str] | None:
    """The module from which ``value`` can be imported; None if it cannot be imported."""
    if isinstance(value, ModuleType):
        return (value.__name__, "") if value.__name__ != "__main__" else None
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is value else None


def _small(value: Any, depth: int = DEEPEST) -> bool:
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind in (str, bytes):
        return len(value) <= MAX_TEXT
    if depth == 0:
        return False
    if kind in _CONTAINERS:
        return len(value) <= MAX_ITEMS and all(_small(item, depth - 1) for item in value)
    if kind is dict:
        return len(value) <= MAX_ITEMS and all(_small(item, depth - 1) for pair in value.items() for item in pair)
    if kind.__module__ == "__main__":
        return _small(getattr(value, "__dict__", None), depth - 1)
    return kind.__module__ in _SMALL_BY_NATURE


def _mentions(value: Any) -> Iterator[str]:
    """Names that the code and the annotations of a function or a class use."""
    members = [value, *vars(value).values()] if isinstance(value, type) else [value]
    for member in members:
        for text in getattr(member, "__annotations__", None) or ():
            said = member.__annotations__[text]
            yield from _WORD.findall(said) if isinstance(said, str) else ()
        for function in (member, *(getattr(member, part, None) for part in ("__func__", "__wrapped__", "fget"))):
            if isinstance(function, FunctionType):
                yield from code_names(function.__code__)


def code_names(code: CodeType) -> Iterator[str]:
    """The global names that a function uses, also in the functions that it defines."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_names(constant)
