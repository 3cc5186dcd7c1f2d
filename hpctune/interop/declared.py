"""Searches that are declared in YAML, TOML or JSON: everything of the Python interface that is data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.ssh.options import SshOptions
from hpctune.common.checks import as_bytes
from hpctune.common.durations import with_units
from hpctune.common.text import nearest
from hpctune.errors import ConfigFileError, SearchSpaceError, UsageError
from hpctune.interop import program as programs
from hpctune.interop.command_search import CommandSearch
from hpctune.run_config import CheckpointConfig, FailureConfig
from hpctune.space import functions, text as space_text
from hpctune.space.tree import is_grid

SUFFIXES = (".yaml", ".yml", ".toml", ".json")
CONSTANT = "value"
_BOUNDS = frozenset({"lower", "upper", "low", "high", "min", "max", "q", "mean", "sd"})

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}
_FLAG: dict[str, Any] = {"type": "boolean"}
_MODE: dict[str, Any] = {"enum": ["min", "max"]}
_TABLE: dict[str, Any] = {"type": "object"}
_NAMED: dict[str, Any] = {"anyOf": [_TEXT, {"type": "object", "required": ["name"]}]}
KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "command": (
        {"anyOf": [_TEXT, {"type": "array"}]}, "The program, with {parameters} in braces, or as options at its end.",
    ),
    "style": ({"enum": ["space", "equals", "hydra", "env"]}, "How parameters are appended, if not as guessed."),
    "parameters": (_TABLE, "The search space: a value, a list of choices, log:1e-4..1e-1, {uniform: [0, 1]}."),
    "trials": ({"type": "array"}, "The configurations to try, in place of samples: a list of mappings."),
    "grid": (_FLAG, "Every combination of the lists, instead of samples."),
    "metric": (
        {"anyOf": [_TEXT, {"type": "array"}]}, "The metric, as the program prints it; or several in one line.",
    ),
    "mode": ({"anyOf": [_MODE, {"type": "array"}]}, "Whether a smaller or a greater metric is better; min by default."),
    "parse": (_TEXT, "A regular expression that finds the metric in a line."),
    "num_samples": ({"type": "integer", "minimum": -1}, "How many trials (20); -1: without end."),
    "search_alg": (_NAMED, "random, tpe, gp, optuna, ...; or {name: tpe, n_initial_points: 10}."),
    "scheduler": (_NAMED, "asha, median, hyperband, ...; or {name: asha, max_t: 100}."),
    "stop": (_TABLE, "When a trial ends: {loss: 0.1, training_iteration: 100}."),
    "time_budget": ({"type": ["string", "number"]}, "How long the search takes at most: 3600, 2h30m."),
    "budget": (_TEXT, "How many hours the jobs may hold: 200gpuh, 5000cpuh, 40nodeh, 1000billing."),
    "max_concurrent": (_COUNT, "How many trials have a job at a time."),
    "seed": ({"type": "integer"}, "The seed of the samples."),
    "name": (_TEXT, "The experiment's name."),
    "storage_path": (_TEXT, "The directory of the experiments, on the shared filesystem."),
    "cwd": (_TEXT, "Where the program runs: here (.), by default; trial: in each trial's directory."),
    "env": (_TABLE, "Variables of the program's environment."),
    "resources": (_TABLE, "What a trial needs: {cpu: 4, gpu: 1, memory: 16GB}."),
    "cluster": (_TEXT, "auto, slurm, local or debug."),
    "workers": ({"anyOf": [_COUNT, {"const": "auto"}]}, "Worker jobs that stay and run many trials."),
    "slurm": (_TABLE, "Options of the Slurm jobs: {partition: gpu, time: 2h}."),
    "ssh": (_TABLE, "Machines that run the trials, reached by ssh: {hosts: [ws1, ann@ws2]}."),
    "checkpoint": (_TABLE, "Which checkpoints are kept: {num_to_keep: 2}."),
    "failure": (_TABLE, "What happens on failures: {max_failures: 3}."),
    "callbacks": ({"type": "array"}, "Names of loggers."),
    "log_to_file": ({"type": ["boolean", "string"]}, "Names of the trials' output files."),
    "verbose": ({"type": "integer", "minimum": 0, "maximum": 3}, "0: quiet ... 3: everything."),
    "share_with_group": (_FLAG, "The directory's group may read the experiment."),
}  # fmt: skip
"""The keys of a file: the JSON schema of the value, and what it means."""
_KINDS: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}
_NESTED = {"slurm": SlurmOptions, "ssh": SshOptions, "checkpoint": CheckpointConfig, "failure": FailureConfig}


def schema() -> dict[str, Any]:
    """The JSON schema of these files, for editors."""
    properties = {name: {**kind, "description": words} for name, (kind, words) in KEYS.items()}
    for name, options in _NESTED.items():
        known: dict[str, Any] = {field.name: {} for field in fields(options) if not field.name.startswith("_")}
        properties[name] |= {"properties": known, "additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A search of hpctune",
        "type": "object",
        "properties": properties,
        "required": ["command"],
        "additionalProperties": False,
    }


def read(path: Path) -> Mapping[str, Any]:
    """The content of a file as a mapping. Raises ConfigFileError, with the place of a syntax error."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFileError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    try:
        data = _parser(path.suffix.lower())(text)
    except Exception as error:  # of three parsers
        raise ConfigFileError(f"{path}: {' '.join(str(error).split())}.") from error
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise ConfigFileError(f"{path} must contain keys with values, such as 'command: python train.py'.")
    return data


def _parser(suffix: str) -> Callable[[str], Any]:
    if suffix == ".toml":
        import tomllib

        return tomllib.loads
    if suffix == ".json":
        return json.loads
    from hpctune.interop.yaml import load

    return load


def search_of(data: Mapping[str, Any], path: Path) -> CommandSearch:
    """The search that the content of a file at ``path`` declares.

    Raises ConfigFileError, which names the key, for anything that is not as it must be.
    """
    for key, value in data.items():
        _check(key, value, path)
    if "command" not in data:
        raise ConfigFileError(f"{path} has no 'command', the program to run. {_known()}")
    try:
        return _search(data, path)
    except (UsageError, SearchSpaceError) as error:
        raise ConfigFileError(f"{path}: {error}") from error


def _search(data: Mapping[str, Any], path: Path) -> CommandSearch:
    space = {
        name: _domain_of(name, value, bool(data.get("grid"))) for name, value in data.get("parameters", {}).items()
    }
    rows = data.get("trials")
    command, directory = data["command"], path.absolute().parent
    where = Path(data.get("cwd", "."))
    cwd = None if data.get("cwd") == "trial" else str((directory / where.expanduser()).resolve())
    if rows is not None:
        check_rows(rows, data.get("parameters", {}), "trials: ")
    if isinstance(command, str):
        command = re.sub(
            r"\n\s+(?=-)", " ", command.strip()
        )  # an option at the begin of a line belongs to the line before
        known = programs.inspect_program(command, Path(cwd or directory))
        named = dict(_flat({**dict.fromkeys((rows or [{}])[0]), **space}))
        command = programs.with_arguments(command, named, known, data.get("style"))
    return CommandSearch(
        command,
        space=space if rows is None else {**space_of(rows), **space},
        rows=rows,
        metric=data.get("metric"),
        mode=data.get("mode"),
        pattern=data.get("parse"),
        num_samples=data.get("num_samples"),
        search_alg=data.get("search_alg"),
        scheduler=data.get("scheduler"),
        seed=data.get("seed"),
        cwd=cwd,
        env={name: str(value) for name, value in data.get("env", {}).items()},
        resources=_resources(data.get("resources")),
        slurm=data.get("slurm", {}),
        cluster=data.get("cluster"),
        ssh=data.get("ssh", {}),
        workers=data.get("workers"),
        failure=data.get("failure", {}),
        checkpoint=data.get("checkpoint", {}),
        tune=_without_none(
            time_budget_s=_seconds(data.get("time_budget")),
            max_concurrent_trials=data.get("max_concurrent"),
            budget=data.get("budget"),
        ),
        run=_without_none(
            name=data.get("name") or path.stem,
            storage_path=data.get("storage_path"),
            stop=data.get("stop"),
            callbacks=data.get("callbacks"),
            log_to_file=data.get("log_to_file"),
            verbose=data.get("verbose"),
            share_with_group=data.get("share_with_group"),
        ),
    )


def _domain_of(name: str, value: Any, grid: bool) -> Any:
    """The domain of a parameter. Raises SearchSpaceError, which names it."""
    try:
        return domain(value, grid=grid)
    except (SearchSpaceError, TypeError) as error:  # TypeError: the domain has other arguments
        raise SearchSpaceError(f"parameters: {name}: {error}") from error


def domain(value: Any, *, grid: bool = False) -> Any:
    """The domain, constant or nested space that a value of ``parameters`` states. Raises SearchSpaceError."""
    if isinstance(value, str):
        states = "," not in value or ".." in value or space_text.is_call(value)
        return space_text.domain(value, grid=grid) if states else value
    if isinstance(value, list):
        return functions.grid_search(value) if grid else functions.choice(value)
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1:
        ((kind, given),) = value.items()
        if kind == CONSTANT:
            return given
        if kind in space_text.DOMAINS:
            function = getattr(functions, kind)
            if kind in ("choice", "grid_search"):
                return function(given)
            if isinstance(given, Mapping):
                return function(**given)
            return function(*given) if isinstance(given, list) else function(given)
        if isinstance(given, list) or (isinstance(given, Mapping) and set(given) & _BOUNDS):
            space_text.check_name(kind)
    return {key: domain(child, grid=grid) for key, child in value.items()}


def _flat(space: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The parameters of nested mappings, by "a/b"."""
    for name, child in space.items():
        if isinstance(child, Mapping) and not is_grid(child):
            yield from _flat(child, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", child


def _resources(given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A request; its memory may have a unit."""
    if given is None or not isinstance(given.get("memory"), str):
        return given
    return {**given, "memory": as_bytes("memory", given["memory"])}


def space_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A space that contains all configurations."""
    made: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = list({repr(row[name]): row[name] for row in rows if name in row}.values())
        made[name] = values[0] if len(values) == 1 else functions.choice(values)
    return made


def check_rows(rows: Sequence[Mapping[str, Any]], others: Iterable[str], where: str) -> None:
    """Raise UsageError if a configuration lacks a parameter that others have, and that is not among ``others``."""
    needed = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in set(others)]
    for number, row in enumerate(rows, 1):
        missing = next((name for name in needed if name not in row), None)
        if missing is not None:
            raise UsageError(f"{where}trial {number} has no {missing!r}, which others have. Give each trial its value.")


def _check(key: str, value: Any, path: Path) -> None:
    if key not in KEYS:
        raise ConfigFileError(f"{path} has an unknown key {key!r}. {nearest(key, list(KEYS))}{_known()}")
    if not _fits(value, KEYS[key][0]):
        raise ConfigFileError(f"{path}: {key} cannot be {value!r}. {KEYS[key][1]}")
    if key in _NESTED:
        known = [field.name for field in fields(_NESTED[key])]
        for name in value:
            if name not in known:
                raise ConfigFileError(
                    f"{path}: {key} has no {name!r}. {nearest(name, known)}It has: {', '.join(known)}."
                )
    if key == "trials" and not (value and all(isinstance(row, dict) and row for row in value)):
        raise ConfigFileError(f"{path}: trials must be a list of mappings, one for each trial, such as - {{lr: 0.1}}.")


def _fits(value: Any, kind: Mapping[str, Any]) -> bool:
    """Whether a value agrees with a JSON schema, of the few forms that are used here."""
    if "anyOf" in kind:
        return any(_fits(value, one) for one in kind["anyOf"])
    if "enum" in kind or "const" in kind:
        return value in kind.get("enum", [kind.get("const")])
    kinds = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
    if not any(
        isinstance(value, _KINDS[name]) and (name == "boolean" or not isinstance(value, bool)) for name in kinds
    ):
        return False
    if isinstance(value, dict) and any(name not in value for name in kind.get("required", ())):
        return False
    return not isinstance(value, (int, float)) or kind.get("minimum", value) <= value <= kind.get("maximum", value)


def _known() -> str:
    return f"A file has: {', '.join(KEYS)}."


def _seconds(given: str | float | None) -> float | None:
    if given is None or isinstance(given, (int, float)):
        return given
    seconds = with_units(given)
    if seconds is None:
        raise UsageError(f"time_budget cannot be {given!r}. Write seconds, or 2h30m.")
    return seconds


def _without_none(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
