"""What a command says while it works."""

from __future__ import annotations

import shutil
import sys

import click

from hpctune.common.text import clean


class Progress:
    """One updated status line on a terminal; elsewhere one line for each new step."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._last, self._terminal = quiet, "", sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Show the current step."""
        if self._terminal:
            width = shutil.get_terminal_size((80, 24)).columns
            click.echo(f"\r\x1b[2K... {clean(text)[: width - 5]}", err=True, nl=False)
        elif not self._quiet and text.partition(" (")[0].rstrip("0123456789 s,") != self._last:
            self._last = text.partition(" (")[0].rstrip("0123456789 s,")
            click.echo(f"... {clean(text)}", err=True)

    def clear(self) -> None:
        """Clear the status line."""
        if self._terminal:
            click.echo("\r\x1b[2K", err=True, nl=False)


def say(text: str) -> None:
    """A line about what happens, on stderr."""
    click.echo(text, err=True)


def show(text: str) -> None:
    """A part of the output of what runs elsewhere."""
    click.echo(text, nl=False)
    sys.stdout.flush()
