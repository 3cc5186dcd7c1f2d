"""``hpctune sync``: bring the copy of an experiment elsewhere up to date."""

from __future__ import annotations

import sys

import click

from hpctune.cli import find
from hpctune.common.text import count, quoted, size
from hpctune.errors import UsageError
from hpctune.mirror.mirror import Mirror, discard_snapshot
from hpctune.mirror.options import MirrorOptions, is_url
from hpctune.storage import bundle, spec_file


@click.command(
    "sync",
    epilog="Example: hpctune sync ~/hpctune_results/mnist s3://bucket/results",
    help="Bring the copy of an experiment up to date, at the place that it was given (storage_path=URL, or "
    "SyncConfig), or at PLACE/NAME. Only what has changed is copied. It may be interrupted and called again.\n\n"
    + find.DIR_HELP,
)
@click.argument("directory", metavar="[DIR]", required=False)
@click.argument("place", metavar="[PLACE]", required=False)
@click.option("--artifacts", is_flag=True, help="Also other files of the trials' directories than those of hpctune.")
def command(directory: str | None, place: str | None, artifacts: bool) -> None:
    """The command."""
    if place is None and is_url(directory):
        directory, place = None, directory
    paths = find.own_experiment(directory)
    spec = spec_file.read(paths)
    options = MirrorOptions(place=place, artifacts=artifacts) if place is not None else None
    if options is None:
        options = getattr(bundle.load_driver_objects(paths), "mirror", None)
    if options is None:
        raise UsageError(
            f"{paths.root} has no copy elsewhere. Say where: hpctune sync {quoted(paths.root)} s3://bucket/results"
        )
    mirror = Mirror(paths, spec.experiment_id, options)
    there = mirror.sync()
    discard_snapshot(paths)
    copied = mirror.progress
    click.echo(
        f"{mirror.url} is complete: {count(len(there.files), 'file')} of {size(there.bytes)}; copied "
        f"{count(copied.files, 'file')} of {size(copied.bytes)}."
    )
    sys.stdout.flush()
