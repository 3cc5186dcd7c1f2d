"""``hpctune status``: the progress of an experiment. Needs no driver, takes no lock, writes nothing."""

from __future__ import annotations

import shutil
import time

import click

from hpctune.analysis.followed import FollowedExperiment
from hpctune.cli import find, snapshot, statustext
from hpctune.common.throttle import Throttle
from hpctune.storage.values import as_json


@click.command(
    "status",
    epilog="Example: hpctune status ~/hpctune_results/mnist --watch 10",
    help=f"Show the progress of an experiment: driver, trials, the best so far, why jobs wait, what failed.\n\n"
    f"Works on any node, during and after the run, and changes nothing. {find.DIR_HELP}",
)
@find.dir_argument
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead; with --watch, one line a look.")
@click.option("--watch", type=click.FloatRange(min=0.2), metavar="SECONDS", help="Repeat every SECONDS seconds.")
def command(directory: str | None, json_wanted: bool, watch: float | None) -> None:
    """The command."""
    paths = find.experiment(directory)
    followed = FollowedExperiment(paths.root)
    throttle = Throttle(watch or 0.0)
    while True:
        with throttle.measured(time.monotonic()):
            finished = _show(followed, json_wanted, watching=watch is not None)
        if watch is None or finished:
            return
        time.sleep(throttle.wait_s(time.monotonic()))


def _show(followed: FollowedExperiment, json_wanted: bool, watching: bool) -> bool:
    """Print the status once; returns whether the experiment is over."""
    shot = snapshot.take(followed, time.time())
    if json_wanted:
        click.echo(as_json(statustext.as_dict(shot), indent=None if watching else 2))
    else:
        screen = shutil.get_terminal_size((120, 40)).columns
        if watching:
            click.clear()
        click.echo(statustext.render(shot, max(screen, 60)))
    return shot.driving.word == "finished"
