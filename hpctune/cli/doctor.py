"""``hpctune doctor``: check a site before the first run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from hpctune.cli import find
from hpctune.cli.progress import Progress
from hpctune.cli.values import duration_option, names_option
from hpctune.common.text import clean, count
from hpctune.storage.values import as_json

if TYPE_CHECKING:
    from hpctune.site.findings import Advice, Check, Setting

EXIT_CODES = "Exit codes: 0 no obstacle; 1 an obstacle prevents trials from running; 130 interrupted."
_COLOURS = {"ok": "green", "info": None, "warn": "yellow", "fail": "red"}
_INDENT = 8


@click.command(
    "doctor",
    epilog=f"Example: hpctune doctor -p gpu --dir /shared/me/results\n\n{EXIT_CODES}",
    help="Check a site before the first run: Slurm and its limits, the shared filesystem, and, with one small job, how "
    "a compute node sees both. Prints what was found, what it means, and the settings that follow.\n\nLeaves no job "
    "and no file behind, even if it is interrupted. Makes about ten calls to Slurm, which are listed at the end.",
)
@click.option("--cluster", type=click.Choice(["auto", "slurm", "local"]), default="auto", help="Where trials will run.")
@click.option(
    "--hosts", callback=names_option, metavar="HOST,...", help="Look at these machines, which run trials over ssh."
)
@click.option("--dir", "directory", metavar="STORAGE", help="Directory of the experiments. Default: the storage path.")
@click.option("-p", "--partition", metavar="NAME", help="Partition of the jobs.")
@click.option("-A", "--account", metavar="NAME", help="Account to charge.")
@click.option("--gpu", is_flag=True, help="Request one GPU for the test job.")
@click.option("--python", metavar="COMMAND", help="Interpreter on the nodes. Default: this one.")
@click.option("--no-job", is_flag=True, help="Run no test job: check only from this machine.")
@click.option(
    "--wait", callback=duration_option, default="120", show_default=True, metavar="TIME",
    help="Maximum time that the test job may wait in the queue.",
)  # fmt: skip
@click.option(
    "--profile",
    metavar="NAME",
    help="Keep the settings that follow as a profile, for hpctune run --profile NAME.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead.")
@click.pass_context
def command(
    ctx: click.Context,
    cluster: str,
    hosts: tuple[str, ...],
    directory: str | None,
    partition: str | None,
    account: str | None,
    gpu: bool,
    python: str | None,
    no_job: bool,
    wait: float,
    profile: str | None,
    json_wanted: bool,
) -> None:
    """The command."""
    from hpctune.cluster.choice import slurm_is_here
    from hpctune.driver.clock import WallClock
    from hpctune.site.doctor import Question, examine
    from hpctune.site.findings import together

    slurm = cluster == "slurm" or (cluster == "auto" and (slurm_is_here(os.environ) or partition is not None))
    slurm = slurm and not hosts
    place = Path(directory).expanduser().absolute() if directory is not None else find.storage_path().absolute()
    question = Question(slurm, place, partition, account, not no_job, gpu, wait, python, hosts)
    progress = Progress(json_wanted)
    parts: list[Advice] = []
    shown = ""
    try:
        with _interruptible_once(), contextlib.closing(examine(question, WallClock(), progress.say)) as examination:
            for part in examination:
                parts.append(part)
                if not json_wanted:
                    progress.clear()
                    shown = _show(part, shown)
    finally:
        progress.clear()
    advice = together(parts)
    if json_wanted:
        checks, settings = [c.to_json() for c in advice.checks], [s.to_json() for s in advice.settings]
        click.echo(as_json({"failed": advice.failed, "checks": checks, "settings": settings}))
    else:
        click.echo("\n".join(conclusion(advice)))
    if profile is not None and not advice.failed:
        click.echo(_keep(profile, advice.settings), err=json_wanted)
    ctx.exit(1 if advice.failed else 0)


def _keep(name: str, settings: Sequence[Setting]) -> str:
    """Write the profile; returns what is to be said."""
    from hpctune.cli import profiles
    from hpctune.cli.runoptions import SLURM_FIELDS

    lines = [(s.name, s.value, s.why) for s in settings if s.name in SLURM_FIELDS]
    left = [s.name for s in settings if s.name not in SLURM_FIELDS]
    place = profiles.write(name, lines)
    more = f" Not in it, because hpctune run has no option for it: {', '.join(left)}." if left else ""
    return f"\nWrote the profile {name} to {place}: hpctune run CONFIG.py --profile {name}{more}"


@contextlib.contextmanager
def _interruptible_once() -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM, or SIGHUP) ends the check. The clean-up that follows ignores further signals."""

    def handle(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, lambda *_: click.echo("Cleaning up the test job and files; please wait.", err=True))
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(part: Advice, area: str) -> str:
    """Print one part; returns its heading."""
    width = max(shutil.get_terminal_size((100, 40)).columns, 60)
    for check in part.checks:
        if check.area != area:
            area = check.area
            click.echo(f"\n{clean(area)}" if area else area)
        for line in lines_of(check, width):
            click.echo(line)
    return area


def lines_of(check: Check, width: int) -> Iterator[str]:
    """One check, wrapped: the mark, what was found, and below it what that means."""
    mark = click.style(f"{check.mark:<4}", fg=_COLOURS[check.mark], bold=check.mark in ("warn", "fail"))
    first, *rest = _wrap(check.found, width)
    yield f"  {mark}  {first}"
    for line in [*rest, *(_wrap(check.meaning, width) if check.meaning else ())]:
        yield " " * _INDENT + line


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(clean(text), width - _INDENT, break_long_words=False, break_on_hyphens=False) or [""]


def conclusion(advice: Advice) -> list[str]:
    """The summary, and the settings to paste."""
    marks = [check.mark for check in advice.checks]
    fails, warnings = marks.count("fail"), marks.count("warn")
    lines = [""]
    if fails:
        lines.append(f"{count(fails, 'obstacle')}, {count(warnings, 'warning')}. See the lines marked fail.")
    elif warnings:
        lines.append(f"No obstacle, {count(warnings, 'warning')}.")
    else:
        lines.append("No problem was found.")
    return [*lines, *_settings(advice.settings)]


def _settings(settings: Sequence[Setting]) -> list[str]:
    if not settings:
        return []
    said = [f"    {s.name}={s.value!r}," for s in settings]
    width = max(map(len, said))
    inside = [f"{text:<{width}}  # {s.why}" for text, s in zip(said, settings, strict=True)]
    return ["", "Settings that follow, for your config:", "", "slurm = tune.SlurmOptions(", *inside, ")"]
