"""``hpctune fsck``: check an experiment's files, and repair what a crash or a bad filesystem left."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpctune.cli import find
from hpctune.common.text import clean, count, quoted
from hpctune.errors import NotAnExperimentError, TuneError
from hpctune.model.spec import ExperimentSpec
from hpctune.ports import Cluster
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.values import as_json

if TYPE_CHECKING:
    from hpctune.repair.findings import Finding
    from hpctune.repair.fsck import Report

SHOWN = 6
"""Maximum number of findings of one kind that are printed; JSON lists all."""
EXIT_CODES = "Exit codes: 0 nothing wrong; 1 repaired, or with --dry-run problems found; 2 problems remain."


@click.command(
    "fsck",
    epilog=f"Example: hpctune fsck ~/hpctune_results/mnist --dry-run\n\n{EXIT_CODES}",
    help="Check an experiment's files, and repair what a crash or a bad filesystem left. The driver's output files "
    "(result.json, progress.csv, TensorBoard's events, ...) are written again from the journal if they are missing or "
    "wrong. No data is lost: files that are removed go to DIR/quarantine, with the reason. While a driver is running, "
    "nothing is changed.\n\nDIR is an experiment's directory or name, or a directory of experiments. Default: "
    "the experiment that contains the current directory, else the one that was driven last.",
)
@find.dir_argument
@click.option("--dry-run", is_flag=True, help="Only look.")
@click.option("--rebuild", is_flag=True, help="Write every derived file again, even if it looks right.")
@click.option("--cancel-orphans", is_flag=True, help="Cancel jobs that no trial needs any more.")
@click.option("--json", "json_wanted", is_flag=True, help="Print a JSON list instead, one item for each experiment.")
@click.pass_context
def command(
    ctx: click.Context, directory: str | None, dry_run: bool, rebuild: bool, cancel_orphans: bool, json_wanted: bool
) -> None:
    """The command."""
    from hpctune.repair.examine import FsckOptions
    from hpctune.repair.fsck import check, repair, worst

    reports = []
    width = max(shutil.get_terminal_size((100, 40)).columns, 60)
    places = experiments_in(directory)
    options = FsckOptions(rebuild, cancel_orphans, ask_always=len(places) == 1)
    for paths in places:
        report = (check if dry_run else repair)(paths, options, partial(_cluster, paths))
        reports.append(report)
        if not json_wanted:
            click.echo("\n".join(lines(report, width, alone=len(places) == 1)))
    if json_wanted:
        click.echo(as_json([report.to_json() for report in reports]))
    ctx.exit(worst(reports))


def experiments_in(directory: str | None) -> list[ExperimentPaths]:
    """The named experiment, or all experiments in the named directory. Raises NotAnExperimentError."""
    if directory is None:
        return [find.experiment(None)]
    path = Path(directory).expanduser()
    if not path.exists() and "/" not in directory:
        path = find.storage_path() / directory
    if _holds_one(path):
        return [ExperimentPaths(path.absolute())]
    if path.is_dir() and find.inside_experiment(path) is None:
        found = [ExperimentPaths(p.absolute()) for p in sorted(path.iterdir()) if p.is_dir() and _holds_one(p)]
        if not found:
            raise NotAnExperimentError(f"{path} is not an experiment and contains none. Name one: hpctune fsck DIR")
        return found
    return [find.own_experiment(directory)]


def _holds_one(path: Path) -> bool:
    """Also true if the experiment's definition is lost."""
    return find.is_experiment(path) or (path / "journal").is_dir() or (path / ".journal.mended").is_dir()


def _cluster(paths: ExperimentPaths, spec: ExperimentSpec) -> tuple[Cluster | None, str]:
    from hpctune.cluster.choice import reopen_cluster
    from hpctune.driver.clock import WallClock

    try:
        choice = reopen_cluster(spec.cluster, spec.cluster_options)
        return choice.build(paths.root, spec.experiment_id, WallClock()), ""
    except TuneError as error:
        return None, str(error)


# -- for people -------------------------------------------------------------------------------------------------------


def lines(report: Report, width: int, *, alone: bool) -> Iterator[str]:
    """The report as text."""
    name = f"Experiment {report.root}" if alone else str(report.root.name)
    yield f"{name}: {_summary(report)}"
    parts = (("Repaired", report.done), ("Found" if report.dry_run else "Left", report.left), ("Note", report.notes))
    for title, found in parts:
        yield from _section(title, found, width)
    if report.refused:
        yield from _wrapped(f"Not repaired: {report.refused.rstrip('.')}.", width, "")
    if report.kept is not None:
        yield from _wrapped(f"Removed files are in {report.kept} (reasons in reasons.jsonl).", width, "")
    if report.dry_run and report.left:
        yield f"To repair: hpctune fsck {quoted(report.root)}"


def _summary(report: Report) -> str:
    if not report.done and not report.left:
        return "nothing is wrong"
    if report.dry_run:
        return f"{count(len(report.left), 'problem')} found, nothing changed"
    done = f"{count(len(report.done), 'problem')} repaired" if report.done else "nothing repaired"
    return f"{done}, {len(report.left)} left" if report.left else done


def _section(title: str, found: Sequence[Finding], width: int) -> Iterator[str]:
    ordered = sorted(found, key=lambda x: x.kind)
    for kind, group in groupby(ordered, key=lambda x: x.kind):
        same = list(group)
        yield f"  {title}: {kind}" + (f" ({len(same)} times)" if len(same) > 1 else "")
        for finding in same[:SHOWN]:
            yield from _wrapped(f"{clean(finding.where)}: {clean(finding.what)}", width, "    ")
        if len(same) > SHOWN:
            yield f"    ... and {len(same) - SHOWN} more (--json lists all)"
        for action in dict.fromkeys(x.action for x in same if x.action):
            yield from _wrapped(f"-> {clean(action)}", width, "    ")


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    inner = "" if not indent else "  "
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent + inner,
        break_long_words=False,
        break_on_hyphens=False,
    )
