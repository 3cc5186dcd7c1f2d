"""``hpctune sweep``: tune a program as it is, from one command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hpctune.cli.parameters import is_pair
from hpctune.cli.run import as_overrides, run_watched
from hpctune.cli.runoptions import EXIT_CODES, RunCommand, experiment_options, run_options
from hpctune.cli.searchoptions import apply, fit, read_parameters, search_options, show
from hpctune.cli.sshoptions import code_options
from hpctune.common.text import count
from hpctune.errors import UsageError
from hpctune.interop import program as programs
from hpctune.interop.command_search import CommandSearch
from hpctune.space import text as space_text


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
@click.option("--from", "table", metavar="FILE", help="One trial for each line of arguments, or row of a .csv, .json.")
@click.option("--like", metavar="SCRIPT", help="Take options, modules and environment from a batch script that works.")
@click.option("--in-trial-dir", is_flag=True, help="Run the program in each trial's directory instead of here.")
@search_options
@code_options
@experiment_options
@run_options
@click.pass_context
def command(ctx: click.Context, /, words: tuple[str, ...], **given: Any) -> None:
    """The command."""
    like = _like(given["like"])
    text, pairs = _program(words, like, ctx)
    directory = Path(like.directory).expanduser() if like is not None and like.directory else Path.cwd()
    program = programs.inspect_program(text, directory)
    hint = "Put the program into quotes."
    space, rows = read_parameters(pairs, given["table"], bool(given["grid"]), hint, program.lists)
    full = programs.with_arguments(text, space, program, given["style"])
    search = CommandSearch(full, space=space, rows=rows, cwd=None if given["in_trial_dir"] else str(directory))
    if like is not None:
        search.slurm = {**like.options, "setup": like.setup}
    apply(search, given)
    action = fit(search)
    overrides = as_overrides({**given, "config_values": {}, "num_samples": None})
    parameters = dict(word.lstrip("-").split("=", 1) for word in pairs)
    if rows is not None:
        parameters[", ".join(rows[0])] = f"{count(len(rows), 'row')} of {given['table']}"
    show(search, full, parameters, given)
    ctx.exit(run_watched(action, overrides))


def _program(words: Sequence[str], like: Any, ctx: click.Context) -> tuple[str, list[str]]:
    """The program and the parameters on the command line."""
    rest = list(words)
    text = ""
    if rest and not is_pair(rest[0]):
        text = rest.pop(0)
    elif like is not None:
        text = like.command.replace("{", "{{").replace("}", "}}")
    if not text.strip():
        raise click.UsageError("No program was named. Usage: hpctune sweep 'python train.py' lr=1e-4..1e-1", ctx)
    return text, rest


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
