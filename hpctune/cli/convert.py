"""``hpctune convert``: write the Python config that a file means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpctune.cli.runfile import search_in
from hpctune.cli.searchoptions import search_options
from hpctune.errors import UsageError


@click.command(
    "convert",
    epilog="Example: hpctune convert search.yaml -o search.py",
    help="Write the Python config that FILE means, to change it further: a declared search (.yaml, .toml, .json), or a "
    "batch script with --param.",
)
@click.argument("file", metavar="FILE")
@click.option("-o", "--output", metavar="FILE.py", help="Where to write it; default: to the terminal.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=DOMAIN", help="Vary this in a batch script; repeatable."
)
@click.option(
    "--params", "table", metavar="FILE", help="One trial for each row of a .csv, .json, or line of arguments."
)
@click.option("--num-samples", type=click.IntRange(min=-1), metavar="N", help="Total number of samples; -1: endless.")
@search_options
def command(file: str, output: str | None, **given: Any) -> None:
    """The command."""
    path = Path(file).expanduser()
    if path.suffix == ".py":
        raise UsageError(f"{path} is Python already.")
    search = search_in(path, (), given)
    search.tuner()  # what is impossible is said here, not by the file
    text = search.source(f"What {path.name} means.")
    if output is None:
        click.echo(text, nl=False)
        return
    target = Path(output).expanduser()
    if target.exists():
        raise UsageError(f"{target} exists already. Choose another name, or remove it.")
    target.write_text(text)
    click.echo(f"Wrote {target}. Run it: hpctune run {output}", err=True)
