"""``hpctune html``: experiments as one page, in a file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

import click

from hpctune.analysis.page.build import page
from hpctune.cli import find
from hpctune.common.text import size
from hpctune.errors import UsageError


@click.command(
    "html",
    epilog="Example: hpctune html mnist -o mnist.html",
    help="Write one page about one or several experiments: the best configuration, best so far, learning curves, "
    "parameters, Pareto front, all trials with a filter and a comparison, failures, allocations and cost. The page is "
    "a single file that loads nothing, so it can be sent by mail. It shows a running experiment as it is now.\n\n"
    f"{find.DIR_HELP}",
)
@click.argument("directories", metavar="[DIR]...", nargs=-1)
@click.option("-o", "--output", metavar="FILE", help="The file to write. Default: NAME.html in this directory.")
@click.option("--metric", help="The metric to show. Default: the experiment's own, else the first that was reported.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Which values of --metric are better.")
def command(directories: tuple[str, ...], output: str | None, metric: str | None, mode: str | None) -> None:
    """The command."""
    found = [find.experiment(named) for named in directories or (None,)]
    name = found[0].root.name if len(found) == 1 else "experiments"
    file = Path(output).expanduser() if output is not None else Path(f"{name}.html")
    if file.is_dir() or not file.absolute().parent.is_dir():
        what = "is a folder" if file.is_dir() else f"there is no folder {file.absolute().parent}"
        raise UsageError(f"{file}: {what}. Name a file: -o NAME.html")
    text = page([paths.root for paths in found], metric, mode).encode("utf-8", "backslashreplace")
    file.write_bytes(text)
    click.echo(f"{file} ({size(len(text))})")
