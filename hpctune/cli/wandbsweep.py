"""``hpctune run`` on sweeps of W&B: a sweep file, or a script that calls ``wandb.sweep`` and ``wandb.agent``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from hpctune.cli.plainscript import MANY, Script
from hpctune.cli.searchoptions import apply, fit as fit_search
from hpctune.common.text import count, quoted, shorten
from hpctune.errors import ConfigFileError, UsageError
from hpctune.interop import wandb_sweep
from hpctune.interop.command_search import SAMPLES, CommandSearch
from hpctune.worker.hearing import heard_path
from hpctune.worker.wandb_command import SITE, literal_parameters


def is_one(search: CommandSearch) -> bool:
    """Whether a search is a sweep of W&B."""
    return search.kind.endswith(":WandbCommand")


def search_of(
    data: Mapping[str, Any],
    path: Path,
    given: Mapping[str, Any],
    agent: list[str] | None = None,
    cap: int | None = None,
    call: int = 1,
) -> CommandSearch:
    """The search that a sweep means, with the options of the command line; says what it is. ``cap``: as run_cap."""
    if given["style"] or given["grid"]:
        raise UsageError(f"{path} says itself how its parameters are passed (command) and varied (method).")
    caps = [number for number in (data.get("run_cap"), cap) if number is not None]
    search = wandb_sweep.search_of({**data, **({"run_cap": min(caps)} if caps else {})}, path, agent, call)
    if search.rows is not None and given["num_samples"] is not None:
        raise UsageError(f"{path} is a grid: all of it is tried. For less of it, give run_cap in the file.")
    apply(search, given)
    if given["metric"] is not None:
        search.options = {**search.options, "metric": search.metric}
    _show(search, data, path)
    return search


def fit(search: CommandSearch) -> Callable[[list[Any]], int]:
    """The action that runs it, and says then how its runs come to W&B."""
    action = fit_search(search)

    def run(driven: list[Any]) -> int:
        try:
            return action(driven)
        finally:
            for experiment in driven:
                say_sync(experiment.paths.root)

    return run


def searches_in_script(
    path: Path, arguments: tuple[str, ...], given: Mapping[str, Any], script: Script
) -> list[CommandSearch]:
    """The searches of a script that calls ``wandb.agent``, or only ``wandb.sweep`` for an agent that is started by
    hand. The script runs here up to the last such call."""
    until = "agent" if script.calls_wandb_agent else "sweep"
    calls = script.calls_wandb_agent or script.calls_wandb_sweep
    made: list[CommandSearch] = []
    for one in _notes(path, arguments, until, calls):
        if not one["config"]:
            raise ConfigFileError(
                f"{path} calls wandb.agent for a sweep that it has not made. It must call wandb.sweep(...)."
            )
        agent = ["${interpreter}", str(path.absolute()), *arguments] if one["function"] else None
        search = search_of(one["config"], path, given, agent, one["count"], one["call"])
        name = search.run["name"]
        if any(name == each.run["name"] for each in made):
            search.run = {**search.run, "name": f"{name}-{one['call']}"}
        made.append(search)
    return made


def _notes(path: Path, arguments: tuple[str, ...], until: str, calls: int) -> list[dict[str, Any]]:
    """What the script asks ``until`` for. Raises ConfigFileError if it does not come to it."""
    with tempfile.TemporaryDirectory(prefix="hpctune-wandb-") as folder:
        notes = Path(folder, "notes.json")
        env = {
            **os.environ, "HPCTUNE_WANDB_NOTES": str(notes), "HPCTUNE_WANDB_UNTIL": until,
            "HPCTUNE_WANDB_CALLS": str(calls if calls < MANY else 0), "WANDB_MODE": "offline", "WANDB_DIR": folder,
            "PYTHONPATH": heard_path(SITE, os.environ.get("PYTHONPATH")),
        }  # fmt: skip
        command = [sys.executable, str(path.absolute()), *arguments]
        code = subprocess.run(command, env=env, stdout=sys.stderr.fileno(), check=False).returncode
        if not notes.exists():
            how = f"ended with code {code}" if code else "came to its end"
            call = "wandb.agent(sweep_id, function=...)" if until == "agent" else "wandb.sweep(...)"
            raise ConfigFileError(f"{path} {how} before it called {call}.")
        found: list[dict[str, Any]] = json.loads(notes.read_text())
    if code:
        click.echo(
            f"{path} ended with code {code} after its call of wandb.{until}: what it asked for until then runs.",
            err=True,
        )
    return found


def _show(search: CommandSearch, data: Mapping[str, Any], path: Path) -> None:
    click.echo(f"W&B sweep: {path}, method {data['method']}", err=True)
    click.echo(f"Program:   {shorten(' '.join(map(str, search.command)), 100)}", err=True)
    click.echo(f"Runs in:   {search.cwd}", err=True)
    for name, stated in data["parameters"].items():
        click.echo(f"  {name} = {shorten(json.dumps(stated, default=str), 100)}", err=True)
    if literal := literal_parameters(list(search.command), data["parameters"]):
        click.echo(f"Note:      {literal}", err=True)
    if search.options.get("agent"):
        click.echo("Ends at:   wandb.agent(...); what stands behind it in the script does not run", err=True)
    if search.metric is None:
        click.echo("Metric:    none (give --metric NAME --max, to see which is best)", err=True)
    else:
        where = "what wandb.log gets" if search.pattern is None else f"lines with {search.pattern!r}"
        click.echo(f"Metric:    {search.metric} ({search.mode or 'min'}), from {where}", err=True)
    hint = ""
    if search.rows is None and search.num_samples is None and search.samples == SAMPLES:
        hint = " (--num-samples N, or run_cap in the file, for more)"
    click.echo(f"Trials:    {count(search.samples, 'configuration')}{hint}", err=True)


def say_sync(experiment: Path) -> None:
    """Say how runs that were kept on disk come to W&B."""
    pattern = "*/wandb/offline-run-*"
    if next(experiment.glob(pattern), None) is not None:
        click.echo(
            f"W&B runs are on disk. Where there is a network: wandb sync {quoted(experiment)}/{pattern}", err=True
        )
