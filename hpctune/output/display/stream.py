"""The streams that displays write to."""

from __future__ import annotations

import contextlib
import os
from typing import TextIO


class SafeStream:
    """A text stream that may be closed, or unable to show a character, without harm to who writes to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write lines."""
        with contextlib.suppress(OSError, ValueError):
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = self._stream.encoding or "ascii"
                self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()


def columns_of(stream: TextIO) -> int | None:
    """The width of the terminal that ``stream`` is, in characters; None: it is no terminal, as a log file."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None
