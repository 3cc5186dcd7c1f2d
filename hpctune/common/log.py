"""The logger ``hpctune``, and the handler that shows its messages on stderr."""

from __future__ import annotations

import contextlib
import logging
import sys


class _Logger(logging.Logger):
    """A logger that cannot be disabled: ``logging.config.dictConfig`` in a trial would disable all existing loggers."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        return


log = logging.getLogger("hpctune")
log.__class__ = _Logger


class StderrHandler(logging.Handler):
    """Writes each message as a line to the current ``sys.stderr``. A closed or missing stream is not an error.

    Writes nothing if the program itself has configured logging to a terminal, because then its handler shows the
    message.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if any(getattr(h, "stream", None) in (sys.stderr, sys.stdout) for h in logging.getLogger().handlers):
            return
        with contextlib.suppress(OSError, ValueError, AttributeError):
            print(record.getMessage(), file=sys.stderr, flush=True)


def show_messages() -> None:
    """Show messages from level INFO on stderr. Further calls have no effect."""
    if not any(isinstance(handler, StderrHandler) for handler in log.handlers):
        log.addHandler(StderrHandler())
        log.setLevel(logging.INFO)
