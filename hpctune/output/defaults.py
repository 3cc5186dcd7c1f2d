"""Which loggers an experiment has without being asked."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from hpctune.output.callback import Callback
from hpctune.output.loggers.csv import CSVLoggerCallback
from hpctune.output.loggers.json import JsonLoggerCallback
from hpctune.output.loggers.tensorboard import TBXLoggerCallback

DEFAULT_LOGGERS = (JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback)


def default_callbacks(callbacks: Sequence[Callback] | None = None, loggers: bool = True) -> list[Callback]:
    """The user's ``callbacks``, and each default logger that they lack; only what was given if ``loggers`` is False.

    The loggers come first, so that a user's callback finds the files of the result it hears of.
    """
    given = list(callbacks or ())
    if not loggers:
        return given
    missing = [kind for kind in DEFAULT_LOGGERS if not any(isinstance(c, kind) for c in given)]
    if find_spec("tensorboardX") is None:
        missing = [kind for kind in missing if kind is not TBXLoggerCallback]
    return [*(kind() for kind in missing), *given]
