"""The modules that Ray's names give: each is empty, and finds its names in modules of hpctune at their first use."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from hpctune.ray import examples, install
from hpctune.ray.names import VALUES, children, known, sources
from hpctune.ray.not_here import NOT_HERE

_SHOWN = 12
"""How many names a message lists."""
_DUNDERS = ("__version__", "__commit__")


class RayNameError(AttributeError):
    """hpctune has nothing of this name."""


class RayImportError(ModuleNotFoundError):
    """hpctune has no module of this name."""


class RayModule(ModuleType):
    """A module of Ray's that hpctune stands for."""

    def __getattr__(self, name: str) -> Any:
        value = found(self.__name__, name)
        setattr(self, name, value)
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        return ray_module, (self.__name__,)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *public_names(self.__name__), *children(self.__name__)})


def ray_module(name: str) -> ModuleType:
    """The module of this name. Pickles name this function."""
    install()
    return importlib.import_module(name)


def found(module: str, name: str) -> Any:
    """What ``module.name`` stands for. Raises RayNameError, which says what there is instead."""
    if name == "__all__":
        return public_names(module)
    if name.startswith("__") and name.endswith("__") and name not in _DUNDERS:
        raise RayNameError(f"module {module!r} has no attribute {name!r}")
    if known(f"{module}.{name}"):
        return importlib.import_module(f"{module}.{name}")
    if (module, name) in VALUES:
        home, _, attribute = VALUES[module, name].partition(":")
        return getattr(importlib.import_module(home), attribute)
    for home in sources(module):
        try:
            value = getattr(importlib.import_module(home), name)
        except AttributeError:
            continue
        if not isinstance(value, ModuleType):
            return value
    raise RayNameError(words(module, name))


def words(module: str, name: str) -> str:
    """That ``module`` has no ``name`` here, why, and what it has."""
    reason = reason_for(f"{module}.{name}")
    there = [*public_names(module), *children(module)]
    near = difflib.get_close_matches(name, there, 3)
    text = f"{module}.{name} is not part of hpctune, which stands for Ray in this run."
    if reason:
        return f"{text} {reason}"
    if near:
        return f"{text} Did you mean {' or '.join(near)}?"
    shown = ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
    return f"{text} {module} has: {shown or 'nothing'}. With Ray itself: hpctune run --ray installed"


def reason_for(name: str) -> str:
    """Why hpctune does not have ``name``, or what of it; empty: no reason is known."""
    while name:
        if name in NOT_HERE:
            return NOT_HERE[name]
        name = name.rpartition(".")[0]
    return ""


def public_names(module: str) -> list[str]:
    """The names that ``from module import *`` takes."""
    names: set[str] = {name for home, name in VALUES if home == module}
    for home in sources(module):
        source = importlib.import_module(home)
        names.update(getattr(source, "__all__", None) or _defined(source))
        names.update(name for name in vars(source) if name.isupper() and not name.startswith("_"))
    return sorted(name for name in names if not name.startswith("__"))


def _defined(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            yield name


class _Finder:
    """In ``sys.meta_path``, for all that is below ``ray``."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith("ray."):
            return None
        if f"{name}.".startswith(f"{examples.PACKAGE}.") and (spec := examples.find(name)) is not None:
            return spec
        return ModuleSpec(name, _Loader(), origin="hpctune", is_package=True)


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if not known(spec.name):
            module, _, name = spec.name.rpartition(".")
            raise RayImportError(words(module, name))  # with its name, "from ray import ..." would swallow it
        return RayModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""


def become_ray(module: ModuleType) -> None:
    """Make ``module`` the package ``ray``."""
    module.__class__ = RayModule
    vars(module)["__hpctune__"] = True
    vars(module)["__path__"] = []  # what is below is found by the finder
    if not any(type(finder) is _Finder for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def modules() -> Sequence[str]:
    """All modules that can be imported."""
    names: list[str] = []
    waiting = ["ray"]
    while waiting:
        name = waiting.pop()
        names.append(name)
        waiting += [f"{name}.{child}" for child in children(name)]
    return sorted(names)
