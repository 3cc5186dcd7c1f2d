"""``hpctune fetch``: bring an experiment here, from its copy elsewhere or from a cluster that is reached over ssh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from hpctune.cli import find
from hpctune.cli.best import rank
from hpctune.common import urls
from hpctune.common.text import count, quoted, size
from hpctune.errors import ResumeError, UsageError
from hpctune.mirror.fetch import Wanted, everything, fetch, without_checkpoints
from hpctune.mirror.manifest import Manifest
from hpctune.mirror.options import INCOMPLETE, is_url
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from hpctune.storage.values import as_json

Bring = Callable[[Wanted, Sequence[str]], Manifest]
"""Brings the wanted files. The second argument names the wanted checkpoints, as TRIAL/CHECKPOINT or "all"."""


@click.command(
    "fetch",
    epilog="Example: hpctune fetch s3://bucket/results/mnist\n\nhpctune fetch mnist --on cluster --best 3",
    help="Bring the experiment whose copy is at URL to DIR (default: its name under the storage path), so that it can "
    "be looked at or resumed here. With --on, bring the experiment NAME of that cluster. What is here already is not "
    "copied again; everything is checked by its checksum.",
)
@click.argument("place", metavar="URL|NAME")
@click.argument("directory", metavar="[DIR]", required=False)
@click.option(
    "--checkpoints", type=click.Choice(["all", "best", "none"]),
    help="Which checkpoints: all (the default of a URL), that of the best trial (the default with --on), or none.",
)  # fmt: skip
@click.option("--best", type=click.IntRange(min=1), metavar="N", help="The checkpoints of the N best trials.")
@click.option("--contents", is_flag=True, hidden=True, help="Print the list of an experiment's files, for --on.")
@click.option("--checkpoint", "chosen", multiple=True, hidden=True, help="With checksums of this one.")
def command(
    place: str,
    directory: str | None,
    checkpoints: str | None,
    best: int | None,
    contents: bool,
    chosen: tuple[str, ...],
) -> None:
    """The command."""
    if contents:
        print_contents(place, chosen)
        return
    if not is_url(place):
        raise UsageError(
            f"{place!r} is no URL. Of an experiment that is here, nothing has to be fetched. One on a "
            f"cluster that is reached over ssh: hpctune fetch {quoted(place)} --on CLUSTER"
        )
    url = urls.plain(urls.public(place))
    name = urls.last_name(url)
    from hpctune.launch.remote import experiment_id

    target = target_of(url, name, directory, lambda: experiment_id(url))
    wanted = checkpoints or ("best" if best else "all")
    there = bring(target, wanted, best or 1, lambda files, _: fetch(url, target, files), url)
    click.echo(f"{target}: {count(len(there.files), 'file')} of {size(there.bytes)} in the copy.")
    if wanted == "all":
        click.echo(f"To go on with it here: hpctune resume {quoted(target)}")


def print_contents(named: str, chosen: Sequence[str]) -> None:
    """Print the list of an experiment's files. ``chosen``: the checkpoints whose checksums are wanted."""
    from hpctune.mirror.contents import contents

    paths = find.experiment(named)
    made = contents(paths, everything if "all" in chosen else _with(chosen))
    click.echo(f'{{"root": {as_json(str(paths.root.absolute()), indent=None)}, "manifest": {made.to_json()}}}')


def target_of(place: str, name: str, directory: str | None, experiment_id: Callable[[], str]) -> Path:
    """The directory here. Raises ResumeError if another experiment is there, or one that was driven here."""
    target = Path(directory).expanduser().absolute() if directory is not None else find.storage_path() / name
    paths = ExperimentPaths(target)
    if paths.spec.is_file() and spec_file.read(paths).experiment_id != experiment_id():
        raise ResumeError(f"{target} is another experiment than {place}. Name another directory.")
    if paths.lease.is_file():
        raise ResumeError(f"{target} has been driven here, so it is ahead of its copy. Nothing is to be fetched.")
    return target


def bring(target: Path, checkpoints: str, number: int, files: Bring, source: str) -> Manifest:
    """Bring an experiment into ``target``. ``checkpoints``: all, none, or those of the ``number`` best trials.
    ``source``: its URL, or the command that brings all of it."""
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark = target / INCOMPLETE
    mark.write_text(f"{source}\n")
    if checkpoints == "all":
        there = files(everything, ["all"])
    else:
        there = files(without_checkpoints, [])
        best = best_checkpoints(target, number) if checkpoints == "best" else []
        there = files(_with(best), best) if best else there
    if all((target / name).is_file() for name in there.files):
        mark.unlink()
    return there


def best_checkpoints(root: Path, number: int) -> list[str]:
    """The checkpoints of the best trials, as TRIAL/CHECKPOINT; none if no trial has reported the metric."""
    view = read_experiment(root, with_rows=True)
    spec = view.state.spec
    if spec.metric is None or spec.mode is None or not view.rows:
        return []
    found = rank(view, spec.metric, spec.mode, "last")[:number]
    return [f"{one.trial.dirname}/{one.checkpoint.name}" for one in found if one.checkpoint is not None]


def _with(checkpoints: Sequence[str]) -> Wanted:
    return lambda name: without_checkpoints(name) or any(name.startswith(f"{one}/") for one in checkpoints)
