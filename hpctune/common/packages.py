"""Packages that only some parts of hpctune need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hpctune.errors import MissingPackageError


def load(package: str, submodule: str, extra: str, who: str) -> Any:
    """Import a package, or one of its modules.

    Args:
        package: Its name, as it is imported.
        submodule: What to import of it, such as ``samplers``; empty: itself.
        extra: The extra of hpctune that installs it.
        who: What needs it.

    Raises:
        MissingPackageError: if it is not installed, or cannot be imported.
    """
    try:
        return import_module(f"{package}.{submodule}" if submodule else package)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package.partition(".")[0]:
            raise MissingPackageError(
                f"{who} needs the package {package}, which is not installed. Install it: pip install 'hpctune[{extra}]'"
            ) from None
        raise MissingPackageError(
            f"{who} needs the package {package}, which is installed but cannot be imported: {error}. "
            f"Install it again: pip install --force-reinstall 'hpctune[{extra}]'"
        ) from error
