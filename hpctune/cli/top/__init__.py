"""``hpctune top``: experiments on the whole terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hpctune.cli import find
from hpctune.common.packages import load
from hpctune.errors import UsageError


@click.command(
    "top",
    epilog="Example: hpctune top mnist",
    help="Look at an experiment on the whole terminal while it goes on: its trials (sort, filter), the curve, "
    "configuration, output and error of one, jobs and why they wait. Stop, add and resume from there, after a "
    "question. It reads files, so it needs no driver. Without DIR it lists all under the storage path. Needs "
    "textual: pip install 'hpctune[top]'.\n\n"
    "DIR is an experiment's directory, or its name under the storage path.",
)
@click.argument("directory", metavar="[DIR]", required=False)
@click.option(
    "--every", type=click.FloatRange(min=0.5), default=3.0, metavar="S", help="Seconds between two looks; default: 3."
)
@click.option("--read-only", is_flag=True, help="Change nothing: no stop, add or resume.")
def command(directory: str | None, every: float, read_only: bool) -> None:
    """The command."""
    load("textual", "", "top", "hpctune top")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("hpctune top needs a terminal. Without one: hpctune status, hpctune list")
    experiment = find.experiment(directory) if directory is not None else find.inside_experiment(Path.cwd())
    from hpctune.cli.top.app import TopApp

    TopApp(find.storage_path(), experiment, every_s=every, read_only=read_only).run()
