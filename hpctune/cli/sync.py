"""``hpctune sync``: bring the copy of an experiment elsewhere up to date."""

from __future__ import annotations

import contextlib
import sys
import time

import click

from hpctune.cli import find
from hpctune.common import urls
from hpctune.common.text import count, quoted, size
from hpctune.errors import TuneError, UsageError
from hpctune.mirror import status
from hpctune.mirror.mirror import Mirror, discard_snapshot
from hpctune.mirror.occupant import occupant
from hpctune.mirror.options import MirrorOptions, is_url
from hpctune.mirror.status import MirrorStatus
from hpctune.storage import bundle, spec_file
from hpctune.storage.layout import ExperimentPaths


@click.command(
    "sync",
    epilog="Example: hpctune sync ~/hpctune_results/mnist s3://bucket/results",
    help="Bring the copy of an experiment up to date, at the place that it was given (storage_path=URL, or "
    "SyncConfig), or at PLACE/NAME; PLACE may also be the copy itself. "
    "Only what has changed is copied. It may be interrupted and called again.\n\n" + find.DIR_HELP,
)
@click.argument("directory", metavar="[DIR]", required=False)
@click.argument("place", metavar="[PLACE]", required=False)
@click.option("--artifacts", is_flag=True, help="Also other files of the trials' directories than those of hpctune.")
def command(directory: str | None, place: str | None, artifacts: bool) -> None:
    """The command."""
    if place is None and is_url(directory):
        directory, place = None, directory
    paths, url = _named(directory, place)
    spec = spec_file.read(paths)
    options = MirrorOptions(place=place, artifacts=artifacts) if place is not None else None
    if options is None:
        options = getattr(bundle.load_driver_objects(paths), "mirror", None)
    if options is None:
        raise UsageError(
            f"{paths.root} has no copy elsewhere. Say where: hpctune sync {quoted(paths.root)} s3://bucket/results"
        )
    mirror = Mirror(paths, spec.experiment_id, options, url=url)
    began = time.time()
    there = mirror.sync()
    discard_snapshot(paths)
    if place is None:
        status.write(paths, MirrorStatus(mirror.url, began, files=len(there.files), bytes=there.bytes))
    copied = mirror.progress
    click.echo(
        f"{mirror.url} is complete: {count(len(there.files), 'file')} of {size(there.bytes)}; copied "
        f"{count(copied.copied, 'file')} of {size(copied.bytes)}."
    )
    sys.stdout.flush()


def _named(directory: str | None, place: str | None) -> tuple[ExperimentPaths, str | None]:
    """The experiment; and ``place``, if that is its copy itself, and not the directory of copies."""
    copied = None if place is None else occupant(MirrorOptions(place=place), place)
    if copied is None:
        return find.own_experiment(directory), None
    if directory is None:
        known = [each for each in find.experiments(find.storage_path()) if _id(each) == copied]
        if not known:
            raise UsageError(
                f"{urls.public(str(place))} is the copy of an experiment that is not in {find.storage_path()} (the "
                "storage path). Name it: hpctune sync DIR PLACE"
            )
        return known[0], place
    paths = find.own_experiment(directory)
    if _id(paths) != copied:
        raise UsageError(
            f"{urls.public(str(place))} is the copy of another experiment than {paths.root}. Name the directory that "
            f"it is in: hpctune sync {quoted(paths.root)} {quoted(urls.public(urls.parent(str(place))))}"
        )
    return paths, place


def _id(paths: ExperimentPaths) -> str:
    with contextlib.suppress(TuneError, OSError):
        return spec_file.read(paths).experiment_id
    return ""
