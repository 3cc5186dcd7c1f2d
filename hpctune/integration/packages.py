"""Packages that an integration needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from hpctune.common.packages import load


def require(modules: str | tuple[str, ...], extra: str, user: str) -> Any:
    """The first of ``modules`` whose package is installed. Raises MissingPackageError, which names ``user``."""
    names = (modules,) if isinstance(modules, str) else modules
    there = next((name for name in names if find_spec(name.partition(".")[0]) is not None), names[0])
    package, _, submodule = there.partition(".")
    return load(package, submodule, extra, user)
