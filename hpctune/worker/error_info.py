"""What the records say of an exception."""

from __future__ import annotations

import sys
import traceback

from hpctune.errors import RankError
from hpctune.model.records import ErrorInfo
from hpctune.storage import values


def error_info(error: BaseException) -> ErrorInfo:
    """Its type, its text and its traceback."""
    if isinstance(error, RankError):
        return ErrorInfo(error.kind, error.message, error.traceback)
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    words = _parsers_words(error) if isinstance(error, SystemExit) else ""
    if words:
        trace += f"The command line {sys.argv[1:]} was refused: {words}\n"
    return ErrorInfo(type(error).__name__, f"{values.text(error)}: {words}".removesuffix(": "), trace)


def _parsers_words(end: SystemExit) -> str:
    """What a command-line parser printed before it exited with a code; "" if there was none."""
    import argparse

    for frame, _ in traceback.walk_tb(end.__traceback__):
        local = frame.f_locals
        if isinstance(local.get("self"), argparse.ArgumentParser) and frame.f_code.co_name == "error":
            return values.text(local.get("message", ""))
    cause = end.__cause__ or (None if end.__suppress_context__ else end.__context__)
    return values.text(cause) if cause is not None else ""
