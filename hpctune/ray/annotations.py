"""``ray.util.annotations``: decorators that say how stable an interface is. They change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class RayDeprecationWarning(DeprecationWarning):
    """What a deprecated function warns of."""


def _decorator(*args: Any, **_: Any) -> Any:
    if len(args) == 1 and callable(args[0]):
        return args[0]
    same: Callable[[Any], Any] = lambda decorated: decorated  # noqa: E731
    return same


PublicAPI = DeveloperAPI = Deprecated = _decorator
