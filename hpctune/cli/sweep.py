"""``hpctune sweep``: tune a program as it is, from one command line."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hpctune.cli import program as programs
from hpctune.cli.parameters import is_pair, read_pairs, read_rows
from hpctune.cli.run import as_overrides, run_watched
from hpctune.cli.runoptions import EXIT_CODES, RunCommand, experiment_options, run_options
from hpctune.common.text import count, shorten
from hpctune.errors import UsageError
from hpctune.space import text as space_text
from hpctune.space.tree import unresolved

SAMPLES = 20
"""Number of trials if nothing says how many."""


@click.command(
    "sweep",
    cls=RunCommand,
    epilog="Example: hpctune sweep 'python train.py' lr=log:1e-4..1e-1 wd=0,1e-4 --metric val_acc --max\n\n"
    + EXIT_CODES,
    help="Tune PROGRAM, a command line in quotes, as it is: it runs in this directory, gets the parameters as options "
    "of its own, and its metric is read from what it prints.\n\nDOMAIN: " + space_text.HELP + ". A parameter in braces "
    "in PROGRAM, such as {lr}, is filled in there; others are appended in the form that the program's source shows "
    "(--lr 0.1, lr=0.1 for Hydra).\n\nThe metric is found in the usual forms: " + "'val_acc=0.9', 'val_acc: 90%', "
    "'{\"val_acc\": 0.9}'; --parse says another one. A program that prints it more than once reports each time, so "
    "that --scheduler asha can stop it early.",
)
@click.argument("words", metavar="PROGRAM [NAME=DOMAIN]...", nargs=-1)
@click.option("--metric", metavar="NAME", help="The metric in the program's output.")
@click.option("--max", "mode", flag_value="max", help="A greater metric is better.")
@click.option("--min", "mode", flag_value="min", help="A smaller metric is better (the default).")
@click.option(
    "--parse", "pattern", metavar="REGEX", help="What finds the metric: 'loss is ([0-9.]+)', or named groups."
)
@click.option("--grid", is_flag=True, help="Every combination of the values, instead of samples.")
@click.option("--from", "table", metavar="FILE", help="One trial for each line of arguments, or row of a .csv, .json.")
@click.option("--like", metavar="SCRIPT", help="Take options, modules and environment from a batch script that works.")
@click.option("--style", type=click.Choice(programs.STYLES), help="How parameters are appended, if not as guessed.")
@click.option("--search-alg", metavar="NAME", help="random (the default), tpe, gp, optuna, ...")
@click.option("--scheduler", metavar="NAME", help="asha, median, hyperband, ...: stops bad trials early.")
@click.option("--max-t", type=float, metavar="N", help="The scheduler's longest trial, in results.")
@click.option("--seed", type=int, metavar="N", help="Seed of the samples.")
@click.option("--in-trial-dir", is_flag=True, help="Run the program in each trial's directory instead of here.")
@experiment_options
@run_options
@click.pass_context
def command(ctx: click.Context, /, words: tuple[str, ...], **given: Any) -> None:
    """The command."""
    like = _like(given["like"])
    text, pairs = _program(words, like, ctx)
    directory = Path(like.directory).expanduser() if like is not None and like.directory else Path.cwd()
    grid = bool(given["grid"])
    rows = None if given["table"] is None else read_rows(Path(given["table"]))
    space = {name: space_text.domain(value, grid=grid) for name, value in pairs.items()}
    space = {**_space_of(rows, space), **space}
    if given["metric"] is None and given["pattern"] is None and (given["scheduler"] or given["search_alg"]):
        raise UsageError(
            "--scheduler and --search-alg need a metric. Say which: --metric val_loss (and --max or --min)."
        )
    source = programs.inspect_program(text, directory)
    full = programs.with_arguments(text, space, source, given["style"])
    samples = given["num_samples"] or (
        len(rows) if rows is not None else 1 if grid or not unresolved(space) else SAMPLES
    )
    where = None if given["in_trial_dir"] else str(directory)
    tuner = _tuner(full, space, rows, samples, given, where, like)
    overrides = as_overrides({**given, "config_values": {}, "num_samples": None})
    _show(full, pairs, rows, samples, given)
    ctx.exit(run_watched(lambda _: _fit(tuner), overrides))


def _fit(tuner: Any) -> int:
    from hpctune.launch.run import EndOfScript

    with contextlib.suppress(EndOfScript):
        tuner.fit()
    return 0


def _program(words: Sequence[str], like: Any, ctx: click.Context) -> tuple[str, dict[str, str]]:
    """The program and the parameters on the command line."""
    rest = list(words)
    text = ""
    if rest and not is_pair(rest[0]):
        text = rest.pop(0)
    elif like is not None:
        text = like.command.replace("{", "{{").replace("}", "}}")
    if not text.strip():
        raise click.UsageError("No program was named. Usage: hpctune sweep 'python train.py' lr=1e-4..1e-1", ctx)
    return text, read_pairs(rest, "Put the program into quotes.")


def _like(script: str | None) -> Any:
    if script is None:
        return None
    from hpctune.cluster.slurm.existing import read_script

    try:
        found = read_script(Path(script).expanduser().read_text(errors="replace"))
    except OSError as error:
        raise UsageError(f"--like {script}: {error.strerror or error}.") from error
    if found.dropped:
        click.echo(f"Of {script}, hpctune sets itself: {', '.join(f'--{name}' for name in found.dropped)}.", err=True)
    return found


def _space_of(rows: Sequence[Mapping[str, Any]] | None, own: Mapping[str, Any]) -> dict[str, Any]:
    """A space that contains all rows."""
    if rows is None:
        return {}
    from hpctune.space import choice

    names = list(dict.fromkeys(name for row in rows for name in row))
    both = next((name for name in names if name in own), None)
    if both is not None:
        raise UsageError(f"{both!r} is in the file and on the command line. Keep one of them.")
    made: dict[str, Any] = {}
    for name in names:
        values = list({repr(row.get(name)): row.get(name) for row in rows}.values())
        made[name] = values[0] if len(values) == 1 else choice(values)
    return made


def _tuner(
    text: str, space: dict[str, Any], rows: Sequence[Mapping[str, Any]] | None, samples: int,
    given: Mapping[str, Any], directory: str | None, like: Any,
) -> Any:  # fmt: skip
    from hpctune import Command, RunConfig, TuneConfig, Tuner
    from hpctune.schedulers import create_scheduler
    from hpctune.search import BasicVariantGenerator, create_searcher
    from hpctune.worker.printed import PrintedMetric

    metric = given["metric"] or ("metric" if given["pattern"] else None)
    mode = given["mode"] or "min"
    parse = PrintedMetric(metric, given["pattern"]) if metric is not None else None
    searcher: Any = given["search_alg"]
    if rows is not None:
        if searcher is not None:
            raise UsageError("--from lists the trials, so --search-alg has nothing to choose. Keep one of them.")
        searcher = BasicVariantGenerator(points_to_evaluate=[dict(row) for row in rows], random_state=given["seed"])
    elif searcher is None or searcher in ("random", "grid"):
        searcher = BasicVariantGenerator(random_state=given["seed"])
    elif given["seed"] is not None:
        searcher = create_searcher(searcher, seed=given["seed"])
    options = {} if given["max_t"] is None else {"max_t": given["max_t"]}
    slurm = None
    if like is not None:
        from hpctune.cluster.options import SlurmOptions

        slurm = SlurmOptions.from_mapping({**like.options, "setup": like.setup})
    return Tuner(
        Command(text, parse=parse, cwd=directory),
        param_space=space,
        tune_config=TuneConfig(
            metric=metric,
            mode=mode if metric is not None else None,
            num_samples=samples,
            search_alg=searcher,
            scheduler=None if given["scheduler"] is None else create_scheduler(given["scheduler"], **options),
        ),
        run_config=RunConfig(name=given["name"]),
        slurm=slurm,
    )


def _show(
    text: str,
    pairs: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]] | None,
    samples: int,
    given: Mapping[str, Any],
) -> None:
    """Say what will run, before the first job."""
    from hpctune.worker.printed import FORMS

    click.echo(f"Program:   {text}", err=True)
    where = "each trial's directory" if given["in_trial_dir"] else "this directory"
    click.echo(f"Runs in:   {where}", err=True)
    for name, domain in pairs.items():
        click.echo(f"  {name} = {shorten(domain, 100)}", err=True)
    if rows is not None:
        click.echo(f"  {', '.join(rows[0])}: {count(len(rows), 'row')} of {given['table']}", err=True)
    if given["pattern"]:
        click.echo(f"Metric:    {given['metric'] or 'metric'}, found by {given['pattern']!r}", err=True)
    elif given["metric"]:
        name = given["metric"]
        click.echo(
            f"Metric:    {name}, found in lines such as {FORMS.replace('NAME', name)}; else --parse REGEX", err=True
        )
    else:
        click.echo("Metric:    none (give --metric NAME --max, to see which is best)", err=True)
    if given["num_samples"] is None and rows is None and samples == SAMPLES:
        click.echo(f"Trials:    {SAMPLES} samples (--num-samples N)", err=True)
