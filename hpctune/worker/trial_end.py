"""What is called when the user's code of a trial is over, and before that is known elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hpctune.common.log import log

_functions: list[Callable[[bool], object]] = []


def at_trial_end(function: Callable[[bool], object]) -> None:
    """Call ``function`` at the end of this trial, in this process, with whether its code has failed."""
    _functions.append(function)


@contextmanager
def calling_at_end() -> Iterator[None]:
    """Call what :func:`at_trial_end` was given meanwhile. What that raises is logged and has no other effect."""
    failed = False
    try:
        yield
    except Exception:
        failed = True
        raise
    finally:
        while _functions:
            try:
                _functions.pop()(failed)
            except Exception as error:
                log.warning(f"hpctune: at the end of the trial: {type(error).__name__}: {error}")
