"""What the shell offers after Tab: experiments, trials, metrics, partitions, hosts. Cheap: it runs at each Tab."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from hpctune.cli import find, profiles
from hpctune.storage import spec_file
from hpctune.storage.layout import ExperimentPaths

MAX_ITEMS = 200
PARTITIONS_S = 600.0
"""Seconds for which the names of partitions are kept, so that not each Tab asks Slurm."""
Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def attach(command: click.Command) -> None:
    """Let the command's arguments and options offer what there is."""
    for parameter in command.params:
        offer = _OFFERS.get((parameter.name or "", parameter.make_metavar(click.Context(command))))
        offer = offer or _OFFERS.get((parameter.name or "", ""))
        if offer is not None:
            parameter._custom_shell_complete = _quiet(offer)


def _quiet(offer: Offer) -> Offer:
    """Without an error, whatever happens: the user is in the middle of a line."""

    def quietly(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        with contextlib.suppress(Exception):
            return offer(context, parameter, begun)
        return []

    return quietly


def _directories(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names under the storage path, and directories that begin like what was typed.

    Beside names, directories are listed here: bash forgets the names when it is told to complete directories.
    """
    names = [] if begun.startswith(("/", ".", "~")) else _starting(_names(), begun)
    if not names:
        return [CompletionItem(begun, type="dir")]
    if not begun:
        return names
    above, _, _ = begun.rpartition("/")
    here = (entry.name for entry in os.scandir(above or ".") if entry.is_dir() and entry.name[0] != ".")
    return [*names, *_starting((f"{above}/{name}" if above else name for name in sorted(here)), begun)]


def _words(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """An experiment first, then its trials."""
    given = context.params.get(parameter.name or "") or ()
    if given or context.params.get("directory"):
        return _starting(_trials(_experiment(context)), begun)
    return _directories(context, parameter, begun)


def _of_trials(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    return _starting(_trials(_experiment(context)), begun)


def _metrics(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """The names in the last result of a trial: one line of one file."""
    experiment = _experiment(context)
    for file in sorted(experiment.root.glob("*/result.json"))[:5]:
        lines = file.read_text(errors="replace").splitlines()
        if lines:
            row = json.loads(lines[-1])
            names = [name for name, value in row.items() if isinstance(value, (int, float))]
            return _starting(names, begun)
    return []


def _partitions(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    return _last_of_several(partitions(), begun)


def _hosts(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    from hpctune.ssh import ssh_config

    return _last_of_several(ssh_config.hosts(), begun)


def _profiles(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    return _starting(profiles.names(), begun)


def partitions() -> list[str]:
    """The names of Slurm's partitions, as sinfo said at most ten minutes ago."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hpctune" / "partitions.json"
    with contextlib.suppress(OSError, ValueError):
        if time.time() - cache.stat().st_mtime < PARTITIONS_S:
            return [str(name) for name in json.loads(cache.read_text())]
    done = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, timeout=5, check=True)
    names = list(dict.fromkeys(done.stdout.split()))
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps(names))
    return names


def _names() -> list[str]:
    storage = find.storage_path()
    return [str(paths.root.relative_to(storage.absolute())) for paths in find.experiments(storage)[:MAX_ITEMS]]


def _experiment(context: click.Context) -> ExperimentPaths:
    """The one that the line names so far, else the default one."""
    given: Any = [context.params.get(name) for name in ("directory", "directories", "words")]
    words = next(filter(None, [*given, context.args]), None)  # args: if an option waits for its value
    return find.experiment(words if words is None or isinstance(words, str) else words[0])


def _trials(paths: ExperimentPaths) -> list[str]:
    """The ids of the trials that have a directory: the journal is not read."""
    key = spec_file.read(paths).experiment_id[:5]
    found = (re.search(rf"{re.escape(key)}_\d+", entry.name) for entry in os.scandir(paths.root) if entry.is_dir())
    return sorted({match[0] for match in found if match is not None})[:MAX_ITEMS]


def _last_of_several(names: Iterable[str], begun: str) -> list[CompletionItem]:
    """One more of several that are separated by commas."""
    before, _, last = begun.rpartition(",")
    lead, more = f"{before}," if before else "", [name for name in names if name not in before.split(",")]
    return [CompletionItem(f"{lead}{item.value}") for item in _starting(more, last)]


def _starting(names: Iterable[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(begun)]


_OFFERS: dict[tuple[str, str], Offer] = {
    ("directory", "[DIR]"): _directories,
    ("directory", "DIR"): _directories,
    ("directories", ""): _directories,
    ("words", "[DIR] [TRIAL]"): _words,
    ("words", "[DIR] [TRIAL]..."): _words,
    ("words", "[DIR] [NAME=DOMAIN]..."): _directories,
    ("like", "TRIAL"): _of_trials,
    ("metric", ""): _metrics,
    ("profile", ""): _profiles,
    ("partition", ""): _partitions,
    ("driver_partition", ""): _partitions,
    ("hosts", "HOST,..."): _hosts,
}
"""By the parameter's name, and its metavar or ""."""
