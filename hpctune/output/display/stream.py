"""The streams that displays write to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TextIO

from hpctune.output.display.status import Facts
from hpctune.trial import Trial


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


class LineDisplay:
    """The base of displays that write lines. ``where``: the experiment's directory, if the trials do not tell it."""

    def __init__(self, stream: TextIO, where: str) -> None:
        self._lines, self._where = SafeStream(stream), where
        self._facts: Facts = ()

    def about(self, facts: Facts) -> None:
        """Facts to be shown from now on."""
        self._facts = facts

    def message(self, text: str) -> None:
        """Show one line, now."""
        self._lines.write(text.rstrip("\n") + "\n")

    def close(self) -> None:
        """Nothing is held."""
        return


def place_of(trials: Sequence[Trial], where: str) -> str:
    """The experiment's directory: ``where`` if it is given, else that of the trials; "" before the first."""
    return where or (trials[0].local_experiment_path if len(trials) else "")
