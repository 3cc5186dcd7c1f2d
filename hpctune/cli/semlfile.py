"""``hpctune run`` on the YAML file of a SEML experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from hpctune.cli.searchoptions import apply
from hpctune.common.text import count, shorten
from hpctune.errors import UsageError
from hpctune.interop.command_search import CommandSearch, several
from hpctune.interop.seml import experiment
from hpctune.interop.seml.slurm import Jobs
from hpctune.space.domain import Domain


def search_of(data: Mapping[str, Any], path: Path, given: Mapping[str, Any]) -> CommandSearch:
    """The search that a file means, with the options of the command line; says what it is."""
    if given["style"] or given["grid"]:
        raise UsageError(f"{path} says itself how its parameters are passed and varied: leave --style and --grid out.")
    searched = given["search_alg"] is not None or given["num_samples"] is not None
    found = experiment.experiment_of(data, path, searched=searched, seed=given["seed"])
    search = found.search
    apply(search, given)
    metrics = several(search.metric)
    search.options = {**search.options, "metric": metrics[0] if metrics and search.pattern is None else None}
    _show(search, found.jobs, data["seml"], path)
    return search


def _show(search: CommandSearch, jobs: Jobs, seml: Mapping[str, Any], path: Path) -> None:
    click.echo(f"SEML experiment: {path}", err=True)
    environment = f" in the conda environment {seml['conda_environment']}" if seml.get("conda_environment") else ""
    click.echo(f"Program:   python {search.command[0]} with NAME=VALUE ...{environment}", err=True)
    click.echo(f"Runs in:   {search.cwd}", err=True)
    for name, domain in search.space.items():
        values = getattr(domain, "categories", None)
        shown = ", ".join(map(str, values)) if values is not None else str(domain)
        click.echo(f"  {name} = {shorten(shown, 100)}", err=True)
    if search.pattern is not None:
        click.echo(f"Metric:    {search.metric} ({search.mode or 'min'}), found by {search.pattern!r}", err=True)
    elif search.metric is not None:
        shown = ", ".join(several(search.metric))
        click.echo(f"Metric:    {shown} ({search.mode or 'min'}), of what the experiment logs or returns", err=True)
    else:
        click.echo("Metric:    none (give --metric NAME --max, to see which is best)", err=True)
    how = "of the file" if search.rows is not None else "chosen" if _varies(search) else "the only one"
    click.echo(f"Trials:    {count(search.samples, 'configuration')}, {how}", err=True)
    if jobs.dropped:
        names = ", ".join(f"--{name}" for name in dict.fromkeys(jobs.dropped))
        click.echo(f"Of sbatch_options, hpctune sets itself: {names}.", err=True)
    if jobs.unused:
        click.echo(
            f"Jobs are those of the first of {jobs.unused + 1} slurm blocks. For others: -p, --gres, --mem, ...",
            err=True,
        )


def _varies(search: CommandSearch) -> bool:
    return any(isinstance(domain, Domain) for domain in search.space.values())
