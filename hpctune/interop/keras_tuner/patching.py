"""Other methods for KerasTuner's ``BaseTuner``, from the moment that a script imports it.

KerasTuner must not be imported before the script: the script may choose Keras' backend first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

MODULE = "keras_tuner.src.engine.base_tuner"
Replacements = Callable[[type], Mapping[str, Callable[..., Any]]]


@contextmanager
def patched(replacements: Replacements) -> Iterator[None]:
    """While this lasts, ``BaseTuner`` has the methods that ``replacements(BaseTuner)`` returns, by name."""
    restored: list[tuple[type, str, Any]] = []

    def patch(module: ModuleType) -> None:
        base: type = module.BaseTuner
        for name, method in replacements(base).items():
            restored.append((base, name, getattr(base, name)))
            setattr(base, name, method)

    finder = _Finder(patch)
    if MODULE in sys.modules:
        patch(sys.modules[MODULE])
    else:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        for base, name, method in restored:
            setattr(base, name, method)


class _Finder:
    """In ``sys.meta_path``: calls ``patch`` with the module as soon as it was imported."""

    def __init__(self, patch: Callable[[ModuleType], None]) -> None:
        self._patch = patch

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name == MODULE else None
        if spec is None or spec.loader is None:
            return None
        loader = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._patch(module)

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
