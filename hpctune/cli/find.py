"""Finding the experiment and the trial that the user's words refer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from hpctune.common import urls
from hpctune.common.text import quoted
from hpctune.errors import NotAnExperimentError, UsageError
from hpctune.mirror.options import copy_of, is_elsewhere
from hpctune.model.trial import Trial
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.names import (
    is_experiment as is_experiment,
    no_experiment as no_experiment,
    storage_path as storage_path,
    stored as stored,
)
from hpctune.storage.reader import open_experiment
from hpctune.storage.spec_file import find_experiments

DIR_HELP = (
    "DIR is an experiment's directory, or its name under the storage path. Default: the experiment that the current "
    "directory belongs to, else the one under the storage path that was driven last."
)


def experiment(named: str | None) -> ExperimentPaths:
    """The experiment that ``named`` refers to. Raises NotAnExperimentError if there is none."""
    if is_elsewhere(named):
        return _of_copy(str(named))
    if named is None:
        return inside_experiment(Path.cwd()) or _newest(storage_path())
    named = named.removeprefix("file://")
    path = Path(named).expanduser()
    inside = inside_experiment(path) if path.exists() else None
    if inside is not None:
        return inside
    if (by_name := stored(named)) is not None:
        return open_experiment(by_name)
    if path.is_file() or "/" in named:
        return open_experiment(path)
    raise no_experiment(named, path)


def _of_copy(url: str) -> ExperimentPaths:
    from hpctune.mirror.fetch import copies_in, readable

    try:
        return readable(url)
    except NotAnExperimentError as error:
        names = copies_in(url)
        if not names:
            raise
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        example = quoted(urls.below(urls.public(url), names[0]))
        raise NotAnExperimentError(f"{error} It contains copies: {some}. Name one: {example}") from error


def experiments(storage: Path) -> list[ExperimentPaths]:
    """The experiments in ``storage``, the most recently driven first."""
    found = [ExperimentPaths(path.absolute()) for path in find_experiments(storage)]
    return sorted(found, key=_driven_at, reverse=True)


def own_experiment(named: str | None) -> ExperimentPaths:
    """The experiment that ``named`` refers to, to change it. Raises UsageError for the URL of a copy."""
    paths = None if is_elsewhere(named) else experiment(named)
    url = urls.public(str(named)) if paths is None else copy_of(paths.root)
    if paths is None or url is not None:
        raise UsageError(
            f"{url} is a copy: it can be looked at, but not changed. Name the experiment itself; or go on with the "
            f"copy here: hpctune resume {quoted(str(url))}"
        )
    return paths


def experiment_and_trials(words: Sequence[str], directory: str | None) -> tuple[ExperimentPaths, list[str]]:
    """The experiment and the trials that ``[DIR] [TRIAL]...`` and ``--dir`` refer to; the trials as they were named.

    The first word is a DIR if it is a path or an experiment's name. A trial's directory names both at once.
    """
    names = list(words)
    if directory is not None or not names:
        return experiment(directory), names
    path = Path(names[0]).expanduser()
    inside = inside_experiment(path) if path.is_dir() else None
    if inside is not None and path.resolve() != inside.root.resolve():
        return inside, names
    if inside is not None or "/" in names[0] or is_experiment(storage_path() / names[0]):
        directory = names.pop(0)
    return experiment(directory), names


def trial(paths: ExperimentPaths, trials: Mapping[str, Trial], named: str) -> Trial:
    """The trial that ``named`` refers to: an id, a name or directory, a number, or a unique start or end of an id.
    Raises UsageError if no trial or several trials match."""
    if named in trials:
        return trials[named]
    every = trials.values()
    exact = [t for t in every if named == t.name or Path(named).resolve().name == t.dirname]
    if not exact and named.isdigit():
        exact = [t for t in every if t.index == int(named)]
    found = exact or [t for t in every if t.trial_id.startswith(named) or t.trial_id.endswith(named)]
    if len(found) == 1:
        return found[0]
    remedy = f"List them with: hpctune list {quoted(paths.root)}"
    if found:
        some = ", ".join(t.trial_id for t in found[:5]) + (", ..." if len(found) > 5 else "")
        raise UsageError(f"{named!r} matches {len(found)} trials: {some}. Give more characters of the id. {remedy}")
    ids = list(trials)
    have = f"has {len(ids)}, from {ids[0]} to {ids[-1]}" if ids else "has none yet"
    raise UsageError(f"There is no trial {named!r} in {paths.root}; it {have}. {remedy}")


def inside_experiment(path: Path) -> ExperimentPaths | None:
    """The experiment at ``path``, or the one that contains ``path`` (such as a trial's directory)."""
    absolute = path.absolute()
    for candidate in (absolute, *absolute.parents):
        if is_experiment(candidate):
            return ExperimentPaths(candidate)
    return None


def _newest(storage: Path) -> ExperimentPaths:
    found = experiments(storage)
    if not found:
        raise NotAnExperimentError(
            f"There is no experiment in {storage} (the storage path). Name one: hpctune COMMAND DIR; or start one: "
            "hpctune run CONFIG.py"
        )
    return found[0]


def _driven_at(paths: ExperimentPaths) -> float:
    for path in (paths.lease, paths.spec):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return 0.0


def dir_argument(function: click.decorators.FC) -> click.decorators.FC:
    """The optional DIR argument of the reading commands."""
    return click.argument("directory", metavar="[DIR]", required=False)(function)
