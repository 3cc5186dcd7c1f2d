"""A command that runs there as it would here: its output, its exit code, colours and width of this terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any

from hpctune.errors import ConnectionLostError
from hpctune.remote.session import Session
from hpctune.ssh.connection import Sink, Terminal
from hpctune.version import VERSION

PASSED = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES")


def run(session: Session, words: list[str], names: Mapping[str, str] | None = None) -> int:
    """Run ``hpctune WORDS`` there. Returns its exit code. Raises ConnectionLostError, which says what to do.

    ``names``: what is said in the place of names of files there.
    """
    variables = {name: os.environ[name] for name in PASSED if name in os.environ}
    variables["HPCTUNE_CLIENT_VERSION"] = VERSION
    terminal = _terminal()
    if terminal is None and sys.stdout.isatty():  # stderr goes elsewhere, so one terminal for both will not do
        variables.setdefault("COLUMNS", str(shutil.get_terminal_size().columns))
    session.insisting(lambda: session.connection.host)  # the command itself is not repeated
    with contextlib.ExitStack() as stack:

        def started(channel: Any) -> None:
            stack.enter_context(_resized(channel, terminal is not None))

        try:
            out, err = _sink(sys.stdout, terminal is not None, names or {}), _sink(sys.stderr, False, {})
            return session.hpctune(words, variables, out, err, terminal, started)
        except ConnectionLostError as error:
            raise ConnectionLostError(
                f"{error} The experiments there are not touched by that. Call it again."
            ) from error


def _terminal() -> Terminal | None:
    """This terminal, if the command's whole output goes there."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return None
    columns, rows = shutil.get_terminal_size()
    return Terminal(os.environ.get("TERM", "dumb"), columns, rows)


@contextlib.contextmanager
def _resized(channel: Any, wanted: bool) -> Iterator[None]:
    """Tell the other side when this terminal changes its size."""
    if not wanted:
        yield
        return

    def tell() -> None:
        columns, rows = shutil.get_terminal_size()
        with contextlib.suppress(Exception):
            channel.resize_pty(columns, rows)

    # In a thread: what the signal interrupts may hold the connection's locks.
    before = signal.signal(signal.SIGWINCH, lambda *_: threading.Thread(target=tell, daemon=True).start())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _sink(stream: IO[str], from_terminal: bool, names: Mapping[str, str]) -> Sink:
    def write(data: bytes) -> None:
        for there, here in names.items():
            data = data.replace(there.encode(), os.fsencode(here))
        data = data.replace(b"\r\n", b"\n") if from_terminal else data  # the terminal here does that, too
        stream.flush()
        binary = getattr(stream, "buffer", None)
        if binary is None:
            stream.write(data.decode(errors="replace"))
        else:
            binary.write(data)
            binary.flush()

    return write
