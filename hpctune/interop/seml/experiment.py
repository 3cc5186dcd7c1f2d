"""A SEML file as a search: each of its configurations is a trial, and needs no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.common.text import file_name, nearest
from hpctune.errors import ConfigFileError, SearchSpaceError, UsageError
from hpctune.interop.command_search import CommandSearch
from hpctune.interop.declared import space_of as space_of_rows
from hpctune.interop.seml.blocks import configurations
from hpctune.interop.seml.literals import interpolated, with_literals
from hpctune.interop.seml.rows import rows_of
from hpctune.interop.seml.slurm import Jobs, jobs_of
from hpctune.interop.seml.space import space_of
from hpctune.worker.sacred_command import named_configurations

KEYS = ("executable", "name", "output_dir", "conda_environment", "project_root_dir")
WITHOUT_EFFECT = ("description", "stash_all_py_files", "reschedule_timeout", "db_collection")
"""``db_collection`` is of files for an earlier SEML."""
_TEXTS = ("executable", "name", "output_dir", "conda_environment", "project_root_dir", "description")


@dataclass(frozen=True, slots=True)
class SemlExperiment:
    """``search``: what the file means. ``jobs``: what its block ``slurm`` says."""

    search: CommandSearch
    jobs: Jobs


def is_one(data: Mapping[str, Any]) -> bool:
    """Whether the content of a file is an experiment of SEML."""
    return isinstance(data.get("seml"), Mapping)


def experiment_of(
    data: Mapping[str, Any], path: Path, *, searched: bool = False, seed: int | None = None
) -> SemlExperiment:
    """The experiment that the content of a file at ``path`` means.

    ``searched``: a searcher chooses the configurations from the ranges in the file; else all that SEML generates are
    tried. ``seed``: for random values whose file states no seed. Raises ConfigFileError, which names the key.
    """
    try:
        return _experiment(with_literals(data), path, searched, seed)
    except (UsageError, SearchSpaceError) as error:
        raise ConfigFileError(f"{path}: {error}") from error


def _experiment(data: Mapping[str, Any], path: Path, searched: bool, seed: int | None) -> SemlExperiment:
    seml = {key: value for key, value in data["seml"].items() if value is not None}
    _check(seml)
    jobs = jobs_of(data.get("slurm"))
    script, directory = _places(seml, path)
    found = configurations({key: value for key, value in data.items() if key not in ("seml", "slurm")})
    rows = None
    if searched:
        space = interpolated(space_of(found), seml)
        named_configurations({name: _first(domain) for name, domain in space.items()})
    else:
        rows = [interpolated(row, seml) for row in rows_of(found, seed)]
        for row in rows:
            named_configurations(row)
        space = space_of_rows(rows)
    options = {
        "conda_environment": seml.get("conda_environment"),
        "search_paths": [str(directory)] if "project_root_dir" in seml else None,
    }
    tune = {} if jobs.at_a_time is None else {"max_concurrent_trials": jobs.at_a_time}
    search = CommandSearch(
        [script], kind="hpctune.worker.sacred_command:SacredCommand", options=options, prints=False, space=space,
        rows=rows, exact=True, cwd=str(directory), slurm=jobs.options, tune=tune,
        run={"name": file_name(seml.get("name")) or path.stem},
    )  # fmt: skip
    return SemlExperiment(search, jobs)


def _check(seml: Mapping[str, Any]) -> None:
    known = (*KEYS, *WITHOUT_EFFECT)
    unknown = next((key for key in seml if key not in known), None)
    if unknown is not None:
        raise UsageError(f"seml has no {unknown!r}. {nearest(str(unknown), known)}It has: {', '.join(known)}.")
    if "executable" not in seml:
        raise UsageError("seml has no executable, the script of the experiment.")
    wrong = next((key for key in _TEXTS if key in seml and not isinstance(seml[key], str)), None)
    if wrong is not None:
        raise UsageError(f"seml: {wrong} must be text, not {seml[wrong]!r}. Write it in quotes.")


def _places(seml: Mapping[str, Any], path: Path) -> tuple[str, Path]:
    """The script, and the directory where it runs: the project's root, or where the file is."""
    beside = path.expanduser().absolute().parent
    directory = (beside / Path(seml.get("project_root_dir", ".")).expanduser()).resolve()
    if not directory.is_dir():
        raise UsageError(f"seml: project_root_dir {seml['project_root_dir']} is no directory: {directory}.")
    script = seml["executable"]
    if (directory / script).is_file():
        return script, directory
    if (beside / script).is_file():
        return str((beside / script).resolve()), directory
    raise UsageError(f"seml: there is no executable {script!r} in {directory}, nor beside the file.")


def _first(domain: Any) -> Any:
    """One of the values of a domain."""
    return getattr(domain, "categories", [domain])[0]
