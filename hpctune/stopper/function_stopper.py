"""A stopper made of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from hpctune.errors import UsageError
from hpctune.stopper.stopper import Stopper


class FunctionStopper(Stopper):
    """Stops a trial when ``function(trial_id, result)`` says so.

    Raises:
        UsageError: if ``function`` is not callable with these two arguments.
    """

    state_fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, function: Callable[[str, dict[str, Any]], bool]) -> None:
        if not self.is_valid_function(function):
            raise UsageError(f"A stop function takes (trial_id, result) and returns a bool; {function!r} does not.")
        self._function = function

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._function(trial_id, result))

    def stop_all(self) -> bool:
        return False

    @classmethod
    def is_valid_function(cls, function: object) -> bool:
        """Return whether ``function`` can be called with (trial_id, result).

        Raises:
            UsageError: if it has a ``stop_all`` method, as only Stoppers should: it was meant to be one.
        """
        if hasattr(function, "stop_all"):
            raise UsageError(
                f"{function!r} has a stop_all method but is no instance of Stopper, so it would never be called. "
                "Derive it from hpctune.Stopper, and pass an instance of it."
            )
        if not callable(function) or inspect.isclass(function):
            return False
        try:
            inspect.signature(function).bind("trial_id", {})
        except TypeError:
            return False
        except ValueError:  # a builtin that does not tell its signature
            return True
        return True
