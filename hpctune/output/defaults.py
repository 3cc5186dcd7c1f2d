"""The default loggers of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from hpctune.common import plugins
from hpctune.errors import UsageError
from hpctune.output.callback import Callback, LoggerCallback
from hpctune.output.loggers.classes import LegacyLoggerCallback
from hpctune.output.loggers.csv import CSVLoggerCallback
from hpctune.output.loggers.json import JsonLoggerCallback
from hpctune.output.loggers.tensorboard import TBXLoggerCallback

DEFAULT_LOGGERS = (JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback)


def as_callback(callback: object) -> Callback:
    """What a user gave as one of ``callbacks``: a Callback, or the name of a plug-in's logger.

    Raises UsageError for anything else.
    """
    made = callback
    if isinstance(callback, str):
        kind = plugins.find(plugins.LOGGERS, callback)
        if kind is None:
            known = ", ".join(plugins.names(plugins.LOGGERS)) or "none: no installed package adds a logger"
            raise UsageError(f"There is no logger {callback!r}. Valid names: {known}.")
        made = kind()
    if not isinstance(made, Callback):
        raise UsageError(f"callbacks must contain instances of hpctune.Callback, not {made!r}.")
    return made


def _writes(callback: Callback, kind: type[LoggerCallback]) -> bool:
    return isinstance(callback, kind) or (isinstance(callback, LegacyLoggerCallback) and callback.writes(kind))


def imported_callback(path: str) -> Callback:
    """A new instance of the class that ``path`` names: ``my.module.Class``. Raises UsageError if there is none."""
    module, _, name = path.rpartition(".")
    try:
        made = getattr(import_module(module), name)()
    except Exception as error:
        raise UsageError(
            f"The callback {path!r} of HPCTUNE_CALLBACKS (or TUNE_CALLBACKS) cannot be made: {type(error).__name__}: "
            f"{error}. Name a class without arguments, as in my.module.MyCallback, or unset the variable."
        ) from error
    return as_callback(made)


def default_callbacks(callbacks: Sequence[Callback | str] | None = None, loggers: bool = True) -> list[Callback]:
    """The user's ``callbacks``, and each default logger that they lack; only what was given if ``loggers`` is False.

    The loggers come first, so that a user's callback finds the files of the result it is told of. Raises UsageError as
    :func:`as_callback` does.
    """
    given = [as_callback(callback) for callback in callbacks or ()]
    if not loggers:
        return given
    missing = [kind for kind in DEFAULT_LOGGERS if not any(_writes(c, kind) for c in given)]
    if find_spec("tensorboardX") is None:
        missing = [kind for kind in missing if kind is not TBXLoggerCallback]
    return [*(kind() for kind in missing), *given]
