"""The older name of :mod:`hpctune.search`."""

from __future__ import annotations

from typing import Any

from hpctune import search

__all__ = search.__all__


def __getattr__(name: str) -> Any:
    return getattr(search, name)
