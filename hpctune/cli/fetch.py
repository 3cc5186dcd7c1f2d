"""``hpctune fetch``: bring an experiment here from its copy elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from hpctune.cli import find
from hpctune.common.text import count, quoted, size
from hpctune.errors import ResumeError, UsageError
from hpctune.mirror.fetch import everything, fetch, without_checkpoints
from hpctune.mirror.options import is_url
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths


@click.command(
    "fetch",
    epilog="Example: hpctune fetch s3://bucket/results/mnist",
    help="Bring the experiment whose copy is at URL to DIR (default: its name under the storage path), so that it can "
    "be looked at or resumed here. What is here already is not copied again; everything is checked by its checksum.",
)
@click.argument("url", metavar="URL")
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--no-checkpoints", is_flag=True, help="Leave the checkpoints out: enough to look at the results.")
def command(url: str, directory: str | None, no_checkpoints: bool) -> None:
    """The command."""
    if not is_url(url):
        raise UsageError(f"{url!r} is no URL. Of an experiment that is here, nothing has to be fetched.")
    name = url.rstrip("/").rpartition("/")[2]
    target = Path(directory).expanduser().absolute() if directory is not None else find.storage_path() / name
    paths = ExperimentPaths(target)
    from hpctune.launch.remote import experiment_id

    if paths.spec.is_file() and spec_file.read(paths).experiment_id != experiment_id(url):
        raise ResumeError(f"{target} is another experiment than {url}. Name another directory.")
    if paths.lease.is_file():
        raise ResumeError(f"{target} has been driven here, so it is ahead of its copy. Nothing is to be fetched.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    there = fetch(url.rstrip("/"), target, without_checkpoints if no_checkpoints else everything)
    click.echo(f"{target}: {count(len(there.files), 'file')} of {size(there.bytes)} in the copy.")
    if not no_checkpoints:
        click.echo(f"To go on with it here: hpctune resume {quoted(target)}")
