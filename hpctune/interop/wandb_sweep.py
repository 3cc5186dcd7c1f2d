"""W&B's sweep configurations: a file, or the dict that a script gives to ``wandb.sweep``, as a search."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.common.log import log
from hpctune.common.text import file_name, nearest
from hpctune.errors import ConfigFileError, SearchSpaceError, UsageError
from hpctune.interop import wandb_space
from hpctune.interop.command_search import CommandSearch
from hpctune.interop.rendering import call
from hpctune.schedulers.wandb_hyperband import WandbHyperband
from hpctune.worker.wandb_command import DEFAULT_COMMAND, check_macros

METHODS = ("grid", "random", "bayes")
SEARCHER = "tpe"
"""What chooses the next configuration in place of W&B's Gaussian process."""
KEYS = (
    "program", "command", "method", "metric", "parameters", "early_terminate", "run_cap", "name", "project", "entity",
    "description", "controller", "apiVersion", "kind",
)  # fmt: skip
ELSEWHERE = ("job", "image_uri", "launch", "queue", "scheduler", "imageuri")
_STOPPING = ("type", "min_iter", "max_iter", "s", "eta", "strict")
_METRIC = ("name", "goal", "target", "impute", "impute_while_running")
_MISSPELLED = 0.75
"""How similar a key is to a known one, from 0 to 1, if it is meant to be that one."""


def is_sweep(data: Mapping[str, Any]) -> bool:
    """Whether the content of a file is a sweep configuration of W&B."""
    named = "method" in data or (
        "program" in data and "command" not in data
    )  # a method that is forgotten or misspelled
    return named and isinstance(data.get("parameters"), Mapping)


def search_of(data: Mapping[str, Any], path: Path, agent: list[str] | None = None, call: int = 1) -> CommandSearch:
    """The search that the content of a file at ``path`` means.

    ``agent``: the command of a script that gave the content to ``wandb.sweep`` and calls ``wandb.agent(function=...)``.
    ``call``: which of its calls that is. Raises ConfigFileError, which names the key.
    """
    try:
        return _search(data, path, agent, call)
    except (UsageError, SearchSpaceError) as error:
        raise ConfigFileError(f"{path}: {error}") from error


def _search(data: Mapping[str, Any], path: Path, agent: list[str] | None, number: int) -> CommandSearch:
    _check_keys(data)
    method, cap = data["method"], data.get("run_cap")
    if cap is not None and not (isinstance(cap, int) and not isinstance(cap, bool) and cap > 0):
        raise UsageError(f"run_cap must be a whole number greater than 0, not {cap!r}.")
    metric, mode, target = _metric(data)
    scheduler = _scheduler(data.get("early_terminate"))
    if metric is None and (method == "bayes" or scheduler):
        raise UsageError(
            f"{'method: bayes' if method == 'bayes' else 'early_terminate'} needs a metric: {{name: loss}}."
        )
    rows = wandb_space.grid_of(data["parameters"], cap) if method == "grid" else None
    space = (wandb_space.space_of if rows is None else wandb_space.grid_space_of)(data["parameters"])
    directory = Path.cwd() if agent is not None else _directory(data, path)
    run: dict[str, Any] = {"name": file_name(data.get("name")) or path.stem}
    if target is not None:
        run["stop"] = call("hpctune.stopper:TargetStopper", metric, target, mode)
    options = {"metric": metric, "project": data.get("project"), "entity": data.get("entity")}
    return CommandSearch(
        agent or _command(data), kind="hpctune.worker.wandb_command:WandbCommand",
        options={**options, "agent": number if agent is not None else None}, prints=False, space=space, rows=rows,
        metric=metric, mode=mode, num_samples=None if rows is not None else cap,
        search_alg=SEARCHER if method == "bayes" else None, scheduler=scheduler, cwd=str(directory), run=run,
    )  # fmt: skip


def _check_keys(data: Mapping[str, Any]) -> None:
    for key in data:
        if key in ELSEWHERE:
            raise UsageError(f"{key!r} is about W&B Launch, which needs its server. Name the program instead.")
        if key in KEYS:
            continue
        if difflib.get_close_matches(str(key), KEYS, 1, _MISSPELLED):
            raise UsageError(f"unknown key {key!r}. {nearest(str(key), KEYS)}A sweep has: {', '.join(KEYS)}.")
        log.warning(f"A sweep of W&B has no key {key!r}: it has no effect.")
    for key in ("method", "parameters"):
        if key not in data:
            raise UsageError(f"a sweep needs {key!r}.")
    if data["method"] not in METHODS:
        raise UsageError(f"method cannot be {data['method']!r}. It is one of {', '.join(METHODS)}.")
    for key in ("program", "name", "project", "entity", "description"):
        if data.get(key) is not None and not isinstance(data[key], str):
            raise UsageError(f"{key} must be text, not {data[key]!r}.")


def _metric(data: Mapping[str, Any]) -> tuple[str | None, str | None, float | None]:
    """Its name, mode and target."""
    given = data.get("metric")
    if given is None:
        return None, None, None
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise UsageError(f"metric must be a mapping with a name: {{name: val_loss, goal: minimize}}; not {given!r}.")
    unknown = next((key for key in given if key not in _METRIC), None)
    if unknown is not None:
        raise UsageError(f"metric has no {unknown!r}. {nearest(str(unknown), _METRIC)}It has: {', '.join(_METRIC)}.")
    goal = given.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise UsageError(f"metric: goal cannot be {goal!r}. It is minimize or maximize.")
    target = given.get("target")
    if target is not None and (isinstance(target, bool) or not isinstance(target, (int, float))):
        raise UsageError(f"metric: target must be a number, not {target!r}.")
    return given["name"], "max" if goal == "maximize" else "min", target


def _scheduler(given: Any) -> Mapping[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or given.get("type") != "hyperband":
        raise UsageError(f"early_terminate must be a mapping with type: hyperband, not {given!r}.")
    unknown = next((key for key in given if key not in _STOPPING), None)
    if unknown is not None:
        raise UsageError(
            f"early_terminate has no {unknown!r}. {nearest(str(unknown), _STOPPING)}It has: {', '.join(_STOPPING)}."
        )
    options = {key: value for key, value in given.items() if key != "type"}
    try:
        WandbHyperband(**options)
    except UsageError as error:
        raise UsageError(f"early_terminate: {error}") from error
    return {"name": "wandb_hyperband", **options}


def _command(data: Mapping[str, Any]) -> list[str]:
    """The words of the command, with the program in its place."""
    words = data.get("command") or list(DEFAULT_COMMAND)
    if not isinstance(words, list) or not all(isinstance(word, (str, int, float)) for word in words):
        raise UsageError(f"command must be a list of words, one a line, not {words!r}.")
    check_macros(words, data["parameters"])
    program = data.get("program")
    if program is None and "${program}" in words:
        raise UsageError("there is no 'program', the script to run.")
    return [str(program) if word == "${program}" else str(word) for word in words]


def _directory(data: Mapping[str, Any], path: Path) -> Path:
    """Where the program runs: here, as with ``wandb agent``, or beside the file if it is there and not here."""
    program, here, beside = data.get("program"), Path.cwd(), path.absolute().parent
    return beside if program and not (here / program).exists() and (beside / program).exists() else here
