"""``hpctune add``: try more configurations in an experiment."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from hpctune.cli import find, snapshot
from hpctune.cli.parameters import is_pair, read_pairs, read_rows
from hpctune.common.text import count, quoted, shorten
from hpctune.core.state import ExperimentState
from hpctune.errors import UsageError
from hpctune.space import text as space_text
from hpctune.space.tree import flatten_dict
from hpctune.storage import inbox, lease
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment

SHOWN = 10
"""Number of new configurations that are shown."""


@click.command(
    "add",
    epilog="Example: hpctune add ~/hpctune_results/mnist lr=0.05 batch=64",
    help="Try more configurations in an experiment, in addition to those that it tries anyway.\n\nNAME=DOMAIN sets a "
    "parameter; others are sampled from the search space. The values need not be in the space. A searcher that can "
    "learn from such trials does.\n\nDOMAIN: " + space_text.HELP + ".\n\n" + find.DIR_HELP,
)
@click.argument("words", metavar="[DIR] [NAME=DOMAIN]...", nargs=-1)
@click.option("--num-samples", type=click.IntRange(min=1), default=1, metavar="N", help="How many; default: 1.")
@click.option("--grid", is_flag=True, help="Every combination of the values, instead of samples.")
@click.option("--like", metavar="TRIAL", help="Take what is not given from this trial, instead of the search space.")
@click.option("--from", "table", metavar="FILE", help="One trial for each row of a .csv, .json, or line of arguments.")
@click.option("--dir", "directory", metavar="DIR", help="The experiment.")
@click.option("--dry-run", is_flag=True, help="Only show the configurations.")
def command(
    words: tuple[str, ...],
    num_samples: int,
    grid: bool,
    like: str | None,
    table: str | None,
    directory: str | None,
    dry_run: bool,
) -> None:
    """The command."""
    rest = list(words)
    if rest and not is_pair(rest[0]) and directory is None:
        directory = rest.pop(0)
    pairs = read_pairs(rest, "For another experiment, name it first.")
    rows: list[dict[str, Any]] = [{}] if table is None else read_rows(Path(table))
    if not pairs and table is None and like is None:
        raise UsageError("Nothing was given. For example: hpctune add DIR lr=0.1, or --like TRIAL, or --num-samples 5")
    paths = find.own_experiment(directory)
    state = read_experiment(paths.root).state
    values = {name: space_text.domain(text, grid=grid) for name, text in pairs.items()}
    base = None if like is None else find.trial(paths, state.trials, like).config
    both = next((name for name in values if name in rows[0]), None)
    if both is not None:
        raise UsageError(f"{both!r} is in the file and on the command line. Keep one of them.")
    configs = list(_configs(paths, state, rows, values, num_samples, base))
    _show(configs)
    if not dry_run:
        inbox.post(paths, inbox.ADD, trials=configs)
        tell(paths, state, len(configs))


def _configs(
    paths: ExperimentPaths,
    state: ExperimentState,
    rows: list[dict[str, Any]],
    values: Mapping[str, Any],
    num_samples: int,
    like: Mapping[str, Any] | None,
) -> Iterator[inbox.NewConfig]:
    from hpctune.launch.additions import new_configs
    from hpctune.storage import bundle

    setup = bundle.load_driver_objects(paths)
    seed = secrets.randbelow(2**31)
    for number, row in enumerate(rows):
        given = {**row, **values}
        yield from new_configs(setup, state, given, seed=seed + number, num_samples=num_samples, like=like)


def _show(configs: list[inbox.NewConfig]) -> None:
    for config, varied in configs[:SHOWN]:
        shown = varied or flatten_dict(config)
        click.echo(f"  {shorten(', '.join(f'{name}={value}' for name, value in shown.items()), 100)}")
    if len(configs) > SHOWN:
        click.echo(f"  ... and {len(configs) - SHOWN} more")


def tell(paths: ExperimentPaths, state: ExperimentState, number: int) -> None:
    """Say who will run the trials."""
    driving = snapshot.driving(paths, state, time.time(), patience_s=lease.PATIENCE_S)
    what, resume = count(number, "trial"), f"hpctune resume {quoted(paths.root)}"
    if state.ended is not None or state.stopping is not None:
        click.echo(f"Noted. The experiment {'is over' if state.ended else 'is stopping'}. To run {what}: {resume}")
    elif driving.alive is False:
        click.echo(f"Noted. {driving.text[0].upper()}{driving.text[1:]}. To run {what}: {resume}")
    else:
        click.echo(f"Told the driver to run {what} more.")
        if driving.alive is None:
            click.echo(f"This host cannot tell whether the driver is alive: {driving.text}.", err=True)
