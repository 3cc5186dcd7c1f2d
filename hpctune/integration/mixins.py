"""What the mixins of trackers (Ray Tune before 2.0) share: a run around a trainable."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

Begin = Callable[[Mapping[str, Any]], Any]
"""Starts the run of a trial with this configuration, and returns it."""


def around(trainable: Callable[..., Any], begin: Begin, end: Callable[[Any], object], attribute: str = "") -> Any:
    """``trainable`` with a run, which ``end`` gets at the end of a function.

    A class gets it as its ``attribute`` (if that has a name) before its ``setup``; its run ends after its ``cleanup``.
    """
    if isinstance(trainable, type):
        original: Callable[..., Any] = getattr(trainable, "setup")  # noqa: B009 - a class has no such attribute by its type

        @functools.wraps(original)
        def setup(self: Any, config: dict[str, Any], *args: Any, **more: Any) -> Any:
            self._hpctune_run = begin(config)
            if attribute:
                setattr(self, attribute, self._hpctune_run)
            return original(self, config, *args, **more)

        last: Callable[..., Any] = getattr(trainable, "cleanup")  # noqa: B009

        @functools.wraps(last)
        def cleanup(self: Any) -> Any:
            try:
                return last(self)
            finally:
                end(self._hpctune_run)

        setattr(trainable, "setup", setup)  # noqa: B010
        setattr(trainable, "cleanup", cleanup)  # noqa: B010
        return trainable

    @functools.wraps(trainable)
    def wrapped(config: dict[str, Any], *args: Any, **more: Any) -> Any:
        run = begin(config)
        try:
            return trainable(config, *args, **more)
        finally:
            end(run)

    return wrapped
