"""``hpctune run`` on a file that is not Python: a declared search, or a batch script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hpctune.cli import semlfile, wandbsweep
from hpctune.cli.searchoptions import apply, fit, read_parameters, show
from hpctune.common.text import count, quoted, shorten
from hpctune.errors import ConfigFileError, UsageError
from hpctune.interop import batch_script, declared, submissions, submit_loop, wandb_sweep
from hpctune.interop.command_search import CommandSearch
from hpctune.interop.seml import experiment as seml


def prepare(path: Path, arguments: tuple[str, ...], given: Mapping[str, Any]) -> Callable[[list[Any]], int]:
    """Read the file, say what will run, and return the action that runs it."""
    search = search_in(path, arguments, given)
    return wandbsweep.fit(search) if wandbsweep.is_one(search) else fit(search)


def search_in(path: Path, arguments: tuple[str, ...], given: Mapping[str, Any]) -> CommandSearch:
    """The search that a file defines, with the options of the command line."""
    if path.suffix == ".py":
        return loop_in(path, arguments, given)
    if batch_script.is_batch_script(path) and submissions.submits(path.read_text(errors="replace")):
        return loop_in(path, arguments, given)
    if arguments:
        raise UsageError(f"Arguments after -- are for Python files, and {path} is none. Write them into the command.")
    if path.suffix.lower() in declared.SUFFIXES:
        return _declared(path, given)
    if batch_script.is_batch_script(path):
        return _script(path, given)
    if path.suffix == ".ipynb":
        script = path.with_suffix(".py")
        raise ConfigFileError(
            f"{path} is a notebook. Run its cells in Jupyter: tuner.fit() in a cell submits jobs as well. Or make a "
            f"script of it: jupyter nbconvert --to script {quoted(path)} && hpctune run {quoted(script)}"
        )
    raise ConfigFileError(
        f"{path} is no file that hpctune run knows: Python (.py), a declared search ({', '.join(declared.SUFFIXES)}), "
        f"or a batch script ({', '.join(batch_script.SUFFIXES[:3])}, or a text with #SBATCH lines)."
    )


def _declared(path: Path, given: Mapping[str, Any]) -> CommandSearch:
    if given["params"] or given["table"]:
        raise UsageError(f"--param and --params are for batch scripts. {path} has its parameters; replace one: --set.")
    data = dict(declared.read(path))
    if wandb_sweep.is_sweep(data):
        return wandbsweep.search_of(data, path, given)
    if seml.is_one(data):
        return semlfile.search_of(data, path, given)
    search = declared.search_of(data | ({"grid": True} if given["grid"] else {}), path)
    apply(search, given)
    shown = {name: str(value) for name, value in data.get("parameters", {}).items()}
    if search.rows is not None:
        shown["trials"] = count(len(search.rows), "configuration")
    program = search.command if isinstance(search.command, str) else " ".join(map(str, search.command))
    show(search, program, shown, given)
    return search


def loop_in(path: Path, arguments: Sequence[str], given: Mapping[str, Any]) -> CommandSearch:
    """The search of a script that calls sbatch, in shell or in Python."""
    if given["params"] or given["table"]:
        raise UsageError(f"--param and --params are for batch scripts. {path} calls sbatch: its calls are the trials.")
    calls = submissions.record(path, arguments)
    search = submit_loop.search_of(path, calls)
    apply(search, given)
    shown = {name: ", ".join(map(str, dict.fromkeys(row[name] for row in search.rows or ()))) for name in search.space}
    show(search, f"{count(len(calls), 'job')} that would be submitted by {path}", shown, given)
    return search


def _script(path: Path, given: Mapping[str, Any]) -> CommandSearch:
    space, rows = read_parameters(list(given["params"]), given["table"], bool(given["grid"]), "")
    script = batch_script.read(path, space)
    search = script.search(rows, given["style"])
    apply(search, given)
    if script.found.dropped:
        names = ", ".join(f"--{name}" for name in dict.fromkeys(script.found.dropped))
        click.echo(f"Of {path}, hpctune sets itself: {names}.", err=True)
    if submissions.resubmits(script.text):
        click.echo(
            f"{path} calls sbatch itself, and so will each trial. Take that out if it is there to go on after a time "
            f"limit: hpctune starts an interrupted trial again.",
            err=True,
        )
    texts = dict(word.split("=", 1) for word in given["params"])
    shown = {name: f"{texts.get(name) or _values(script.space[name])}  ({way})" for name, way in script.ways.items()}
    show(search, str(path), shown, given)
    return search


def _values(domain: Any) -> str:
    """The indices of an array."""
    values = domain["grid_search"] if isinstance(domain, Mapping) and "grid_search" in domain else [domain]
    return shorten(",".join(map(str, values)), 40)
