"""Packages that an integration needs, and the error where one is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

from hpctune.errors import MissingPackageError


def require(modules: str | tuple[str, ...], package: str, extra: str, user: str) -> Any:
    """The first of ``modules`` that is installed. Raises MissingPackageError, which names ``user``."""
    names = (modules,) if isinstance(modules, str) else modules
    for name in names:
        try:
            return import_module(name)
        except ImportError as error:
            top = name.partition(".")[0]
            if isinstance(error, ModuleNotFoundError) and error.name == top:
                continue
            raise MissingPackageError(
                f"{user} needs {package}, whose module {name} cannot be imported: {error}. "
                f"Install it again: pip install 'hpctune[{extra}]'"
            ) from error
    return missing(user, package, extra)


def missing(user: str, package: str, extra: str) -> NoReturn:
    """Raise MissingPackageError."""
    raise MissingPackageError(f"{user} needs {package}, which is not installed: pip install 'hpctune[{extra}]'")
