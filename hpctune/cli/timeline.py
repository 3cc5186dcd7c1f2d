"""``hpctune timeline``: where the time of an experiment's jobs went."""

from __future__ import annotations

from pathlib import Path

import click

from hpctune.analysis import gantt as picture
from hpctune.analysis.timeline import timeline
from hpctune.cli import find
from hpctune.common.text import clean


@click.command(
    "timeline",
    epilog="Example: hpctune timeline ~/hpctune_results/mnist --gantt mnist.png",
    help="Say where the time of an experiment's jobs went: trials, start-up, idle; and draw it, allocations against "
    f"time.\n\n{find.DIR_HELP}",
)
@find.dir_argument
@click.option("--gantt", metavar="FILE", help="Write a picture to this file: .png, .svg or .pdf. Needs matplotlib.")
def command(directory: str | None, gantt: str | None) -> None:
    """The command."""
    paths = find.experiment(directory)
    lanes = timeline(paths.root)
    click.echo(f"{clean(paths.root.name)}: {picture.shares(lanes)}")
    if gantt is not None:
        picture.draw(lanes, paths.root.name, Path(gantt).expanduser())
