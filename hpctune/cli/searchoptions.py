"""The options about a search over a program: ``hpctune sweep``, and ``hpctune run`` on files that are not Python."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

import click
from click.decorators import FC

from hpctune.cli.parameters import read_pairs, read_rows
from hpctune.errors import UsageError
from hpctune.interop.command_search import CommandSearch, several
from hpctune.interop.program import STYLES
from hpctune.space import text as space_text

NAMES = (
    "metric", "mode", "pattern", "grid", "style", "search_alg", "scheduler", "max_t", "seed", "params", "table",
)  # fmt: skip
_MODE: list[Callable[[Any], Any]] = [
    click.option("--max", "mode", flag_value="max", help="A greater metric is better."),
    click.option("--min", "mode", flag_value="min", help="A smaller metric is better (the default)."),
    click.option("--mode", "mode", type=click.Choice(["min", "max"]), help="The same: --mode max is --max."),
]
_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--metric",
        metavar="NAME",
        help="The metric in the program's output, or several in one line: loss,latency; or what "
        "finds it: 'loss: ([0-9.]+)'.",
    ),
    *_MODE,
    click.option(
        "--parse", "pattern", metavar="REGEX", help="What finds the metric: 'loss is ([0-9.]+)', or named groups."
    ),
    click.option("--grid", is_flag=True, help="Every combination of the values, instead of samples."),
    click.option("--style", type=click.Choice(STYLES), help="How parameters are appended, if not as guessed."),
    click.option("--search-alg", metavar="NAME", help="random (the default), tpe, gp, optuna, ..."),
    click.option("--scheduler", metavar="NAME", help="asha, median, hyperband, ...: stops bad trials early."),
    click.option("--max-t", type=float, metavar="N", help="The scheduler's longest trial, in results."),
    click.option("--seed", type=int, metavar="N", help="Seed of the samples."),
]


def search_options(function: FC) -> FC:
    """Add the options."""
    return _with(_OPTIONS, function)


def mode_options(function: FC) -> FC:
    """Add the options that say which values of the metric are better, as ``mode``."""
    return _with(_MODE, function)


def _with(options: list[Callable[[Any], Any]], function: FC) -> FC:
    for option in reversed(options):
        function = option(function)
    return function


def read_parameters(
    words: list[str], table: str | None, grid: bool, hint: str, lists: Container[str] = ()
) -> tuple[dict[str, Any], Any]:
    """The search space of ``NAME=DOMAIN`` words, and the rows of a file, if one is named. ``lists``: options that take
    several words. Raises UsageError."""
    rows = None if table is None else read_rows(Path(table), lists)
    space = {name: space_text.domain(text, grid=grid) for name, text in read_pairs(words, hint).items()}
    return {**_space_of(rows, space), **space}, rows


def _space_of(rows: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    if rows is None:
        return {}
    from hpctune.interop.declared import check_rows, space_of

    check_rows(rows, own, "")
    made = space_of(rows)
    both = next((name for name in made if name in own), None)
    if both is not None:
        raise UsageError(f"{both!r} is in the file and on the command line. Keep one of them.")
    return made


def apply(search: CommandSearch, given: Mapping[str, Any]) -> None:
    """Put what the command line says in place of what the search has. Raises UsageError."""
    if given["metric"] is not None:
        search.metric, search.pattern = metric_of(given["metric"])
    for name in ("mode", "search_alg", "scheduler", "seed", "num_samples", "pattern"):
        if given[name] is not None:
            setattr(search, name, given[name])
    if given["max_t"] is not None:
        named = search.scheduler
        if named is None:
            raise UsageError("--max-t is of a scheduler, and there is none. Add --scheduler asha.")
        search.scheduler = {**(named if isinstance(named, Mapping) else {"name": named}), "max_t": given["max_t"]}
    if search.metric is None and search.pattern is None and (search.scheduler or search.search_alg):
        raise UsageError(
            "--scheduler and --search-alg need a metric. Say which: --metric val_loss (and --max or --min)."
        )


def metric_of(text: str) -> tuple[str, str | None]:
    """The name of a metric, and the regular expression that finds it: ``val_loss: ([0-9.]+)`` has both.

    ``f(x*)`` or ``accuracy (%)`` is only a name: it has nothing that could find digits.
    """
    if "(" not in text or not re.search(r"\\[dDsSwW]|\[|\.[*+?{]", text):
        return text, None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"--metric {text!r} is not a regular expression: {error}.") from error
    if not pattern.groups:
        raise UsageError(f"--metric {text!r} has no group in parentheses, which is the value: 'loss: ([0-9.]+)'.")
    if pattern.groupindex:
        return next(iter(pattern.groupindex)), text
    words = re.findall(r"[A-Za-z_][\w./-]*", re.sub(r"\\.", " ", re.split(r"(?<!\\)\(", text)[0]))
    return "_".join(word for word in words if word not in ("is", "of")) or "metric", text


def show(search: CommandSearch, program: str, parameters: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Say what will run, before the first job. ``parameters``: what they are, as text."""
    from hpctune.common.text import shorten
    from hpctune.worker.printed import FORMS

    click.echo(f"Program:   {shorten(program, 100)}", err=True)
    click.echo(f"Runs in:   {_place(search, given)}", err=True)
    for name, domain in parameters.items():
        click.echo(f"  {name} = {shorten(domain, 100)}", err=True)
    many = len(several(search.metric)) > 1
    how = "" if many else f" ({search.mode or 'min, the default; else --max'})"
    if search.pattern:
        click.echo(f"Metric:    {search.metric or 'metric'}{how}, found by {search.pattern!r}", err=True)
    elif search.metric:
        first, *others = several(search.metric)
        forms = FORMS.replace("NAME", first)
        also = f", and {', '.join(others)} in the same line" if others else ""
        click.echo(f"Metric:    {first}{how}{also}, found in lines such as {forms}; else --parse REGEX", err=True)
    else:
        click.echo("Metric:    none (give --metric NAME --max, to see which is best)", err=True)


def _place(search: CommandSearch, given: Mapping[str, Any]) -> str:
    """Where the program runs, in words."""
    if search.cwd is None:
        return "each trial's directory"
    copies = given.get("hosts") or given.get("file_transfer") or search.ssh or search.slurm.get("file_transfer")
    if copies and given.get("code_limit") != 0:
        return f"a copy of {search.cwd} in each trial's directory"
    return "this directory" if Path(search.cwd) == Path.cwd() else search.cwd


def fit(search: CommandSearch) -> Callable[[list[Any]], int]:
    """The action that runs the search. Raises UsageError for impossible values."""
    tuner = search.tuner()

    def action(_: list[Any]) -> int:
        from hpctune.launch.run import EndOfScript

        with contextlib.suppress(EndOfScript):
            tuner.fit()
        return 0

    return action
