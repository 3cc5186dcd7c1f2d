"""``hpctune.logger``: callbacks that write results to files, and the base class for your own loggers."""

from hpctune.output.callback import LoggerCallback
from hpctune.output.defaults import DEFAULT_LOGGERS
from hpctune.output.display.pretty import pretty_print
from hpctune.output.loggers.classes import (
    CSVLogger,
    JsonLogger,
    LegacyLoggerCallback,
    Logger,
    NoopLogger,
    TBXLogger,
    UnifiedLogger,
)
from hpctune.output.loggers.csv import CSVLoggerCallback
from hpctune.output.loggers.json import JsonLoggerCallback
from hpctune.output.loggers.tensorboard import TBXLoggerCallback

__all__ = [
    "DEFAULT_LOGGERS",
    "CSVLogger",
    "CSVLoggerCallback",
    "JsonLogger",
    "JsonLoggerCallback",
    "LegacyLoggerCallback",
    "Logger",
    "LoggerCallback",
    "NoopLogger",
    "TBXLogger",
    "TBXLoggerCallback",
    "UnifiedLogger",
    "pretty_print",
]
