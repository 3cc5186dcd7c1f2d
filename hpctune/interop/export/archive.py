"""An experiment as an archive: the best trials with checkpoints, all trials in one table, and how it was made.

What it holds, below one folder of the experiment's name::

    README.md           what this is, the best trials, and how to use them
    trials.csv          a row for each trial; with ``rows`` also results.csv, a row for each result
    experiment.json     the definition: search space, versions, git, command line; with uncommitted.diff and note.txt
    requirements.txt    the packages that it ran with
    code/               the sources of the script, as they were submitted
    best/1_TRIAL/       params.json, arguments.txt, progress.csv, error.txt, note.txt, and checkpoints
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctune.analysis.best import best_checkpoint, checkpoint_rows
from hpctune.analysis.listing import trial_row
from hpctune.analysis.load import LoadedExperiment
from hpctune.analysis.table_files import csv_text
from hpctune.common.text import count, number, settings
from hpctune.errors import StorageError
from hpctune.interop.export.packing import Packing
from hpctune.interop.export.table import results_of
from hpctune.interop.export.target import Progress
from hpctune.model import ranking
from hpctune.model.rows import flatten
from hpctune.model.trial import CheckpointRef
from hpctune.storage.values import as_json
from hpctune.trial import Trial

_OF_THE_EXPERIMENT = ("experiment.json", "uncommitted.diff", "note.txt", "code")
_OF_A_TRIAL = ("progress.csv", "error.txt", "note.txt")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A trial of those that are packed. ``values``: of the objectives."""

    trial: Trial
    values: tuple[float, ...]
    checkpoints: Sequence[CheckpointRef]


def choose(
    loaded: LoadedExperiment, objectives: ranking.Objectives, best: int | None, checkpoints: str
) -> list[Chosen]:
    """The best trials by their last results, best first: ``best`` of them, or one; of several objectives the front.

    ``checkpoints``: one of best, last, all and none, of each of these trials.
    """
    by_value = {id(trial.value): trial for trial in loaded.trials}
    if len(objectives) == 1:
        ((metric, mode),) = objectives
        scored = [(found, trial) for trial in loaded.trials if (found := ranking.values_of(trial.value, objectives))]
        sign = -1.0 if mode == "max" else 1.0
        ordered = [trial for _, trial in sorted(scored, key=lambda pair: sign * pair[0][0])][: best or 1]
    else:
        metric, mode = objectives[0]
        ordered = [by_value[id(value)] for value in ranking.pareto_front((t.value for t in loaded.trials), objectives)]
        ordered = ordered[:best]
    return [
        Chosen(
            trial,
            ranking.values_of(trial.value, objectives) or (),
            _checkpoints(loaded, trial, metric, mode, checkpoints),
        )
        for trial in ordered
    ]


def _checkpoints(loaded: LoadedExperiment, trial: Trial, metric: str, mode: str, which: str) -> Sequence[CheckpointRef]:
    known = trial.value.checkpoints
    if which == "none" or not known:
        return ()
    if which == "all":
        return known
    found = None
    if which == "best":
        found = best_checkpoint(checkpoint_rows(trial, loaded.rows(trial.trial_id)), metric, mode)
    return (found or known[-1],)


def pack(
    loaded: LoadedExperiment,
    into: Packing,
    chosen: Sequence[Chosen],
    objectives: ranking.Objectives,
    progress: Progress,
    *,
    rows: bool,
    arguments: Callable[[Mapping[str, Any]], str],
) -> None:
    """Write the experiment. ``arguments``: a configuration as command-line arguments. Raises StorageError."""
    top = loaded.paths.root.name
    names = [f"best/{place}_{each.trial.trial_id}" for place, each in enumerate(chosen, 1)]
    into.text(f"{top}/README.md", _readme(loaded, list(zip(names, chosen, strict=True)), objectives))
    table = [trial_row(trial.value, loaded.paths) for trial in loaded.trials]
    into.text(f"{top}/trials.csv", csv_text(table))
    if rows:
        results = [{"trial_id": t.trial_id} | row for t in loaded.trials for row in results_of(loaded, t)]
        into.text(f"{top}/results.csv", csv_text(results))
    into.text(f"{top}/requirements.txt", _requirements(loaded.spec.origin))
    for name in _OF_THE_EXPERIMENT:
        if (loaded.paths.root / name).exists():
            into.tree(f"{top}/{name}", loaded.paths.root / name)
    for done, (name, each) in enumerate(zip(names, chosen, strict=True), 1):
        _trial(loaded, into, f"{top}/{name}", each, arguments)
        progress(done, len(chosen))


def _trial(
    loaded: LoadedExperiment, into: Packing, place: str, each: Chosen, arguments: Callable[[Mapping[str, Any]], str]
) -> None:
    directory = loaded.paths.trial(each.trial.value.dirname)
    into.text(f"{place}/params.json", as_json(each.trial.value.shown_config) + "\n")
    into.text(f"{place}/arguments.txt", arguments(each.trial.value.shown_config) + "\n")
    for name in _OF_A_TRIAL:
        if (directory.root / name).exists():
            into.tree(f"{place}/{name}", directory.root / name)
    for ref in each.checkpoints:
        try:
            into.tree(f"{place}/{ref.name}", Path(each.trial.open_checkpoint(ref).path))
        except FileNotFoundError as error:
            raise StorageError(
                f"{directory.checkpoint(ref.name)} was removed during the export, because the search goes on. "
                "Try again, or export with --checkpoints none."
            ) from error


def _requirements(origin: Mapping[str, Any]) -> str:
    lines = [f"# Python {origin['python']}"] if "python" in origin else []
    return "\n".join([*lines, *(f"{name}=={version}" for name, version in origin.get("packages", {}).items())]) + "\n"


def _readme(loaded: LoadedExperiment, chosen: Sequence[tuple[str, Chosen]], objectives: ranking.Objectives) -> str:
    origin = loaded.spec.origin
    git = origin.get("git") or {}
    facts = {
        "Trials": f"{len(loaded.trials)}, in `trials.csv`",
        "Objectives": ", ".join(f"{mode} `{name}`" for name, mode in objectives),
        "Command": f"`{origin['command']}`" if "command" in origin else "",
        "Commit": f"`{git['commit']}`" if git.get("commit") else "",
        "Environment": f"Python {origin['python']}, packages in `requirements.txt`" if "python" in origin else "",
    }
    lines = [f"# {loaded.paths.root.name}", "", "The results of a hyperparameter search with hpctune.", ""]
    lines += [f"- {name}: {fact}" for name, fact in facts.items() if fact]
    best = "The best trial" if len(chosen) == 1 else f"The best {count(len(chosen), 'trial')}"
    lines += ["", f"## {best if len(objectives) == 1 else 'Trials that no other trial beats (Pareto front)'}", ""]
    for place, each in chosen:
        values = ", ".join(f"{name} = {number(v)}" for (name, _), v in zip(objectives, each.values, strict=True))
        lines.append(f"- `{place}`: {values}; {settings(flatten(each.trial.value.shown_config), 200)}")
    if not chosen:
        lines.append("No trial has reported a value yet.")
    saved = next((f"{place}/{each.checkpoints[-1].name}" for place, each in chosen if each.checkpoints), None)
    if saved is not None:
        lines += [
            "", "## A checkpoint", "", "It is a plain directory with the files that the trial saved. In Python:", "",
            "```python", "from hpctune import Checkpoint", "",
            f'with Checkpoint.from_directory("{saved}").as_directory() as directory:', "    ...", "```",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"
