"""Which loggers an experiment has without being asked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from hpctune.output.callback import Callback
from hpctune.output.csv_logger import CSVLoggerCallback
from hpctune.output.json_logger import JsonLoggerCallback
from hpctune.output.tbx_logger import TBXLoggerCallback

DEFAULT_LOGGERS = (JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback)
_DISABLE = ("HPCTUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS")
"""The first that is set counts."""


def default_callbacks(
    callbacks: Sequence[Callback] | None = None, environ: Mapping[str, str] | None = None
) -> list[Callback]:
    """The user's ``callbacks``, and each default logger that they lack.

    None are added when HPCTUNE_DISABLE_AUTO_CALLBACK_LOGGERS (or TUNE_...) is 1. The loggers come first, so that a
    user's callback finds the files of the result it hears of.
    """
    given = list(callbacks or ())
    environ = os.environ if environ is None else environ
    disable = next((environ[name] for name in _DISABLE if environ.get(name)), "0")
    if disable.strip().lower() in ("1", "true", "yes"):
        return given
    missing = [kind for kind in DEFAULT_LOGGERS if not any(isinstance(c, kind) for c in given)]
    if find_spec("tensorboardX") is None:
        missing = [kind for kind in missing if kind is not TBXLoggerCallback]
    return [*(kind() for kind in missing), *given]
