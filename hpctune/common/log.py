"""What hpctune tells people while it works: the logger ``hpctune``, and the handler that shows it on stderr."""

from __future__ import annotations

import contextlib
import logging
import sys


class _Logger(logging.Logger):
    """Stays enabled: ``logging.config.dictConfig`` in a trial disables all loggers that exist, which is not meant."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        return


log = logging.getLogger("hpctune")
log.__class__ = _Logger


class StderrHandler(logging.Handler):
    """Writes each message as a line to what is stderr at that moment. A stream that is closed or missing is no error.

    Shows nothing if the program has configured logging to a terminal itself: then its own handler shows the message.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if any(getattr(h, "stream", None) in (sys.stderr, sys.stdout) for h in logging.getLogger().handlers):
            return
        with contextlib.suppress(OSError, ValueError, AttributeError):
            print(record.getMessage(), file=sys.stderr, flush=True)


def show_messages() -> None:
    """Let messages from level INFO on be shown on stderr; once is enough."""
    if not any(isinstance(handler, StderrHandler) for handler in log.handlers):
        log.addHandler(StderrHandler())
        log.setLevel(logging.INFO)
