"""Parses single arguments of the public functions. Each function accepts the valid forms and raises for others."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hpctune.common.checks import is_number
from hpctune.errors import TuneError, UsageError
from hpctune.run_config import CheckpointConfig
from hpctune.space import Function
from hpctune.space.evaluated import with_expressions
from hpctune.space.view import config_view
from hpctune.storage import checkpoints

EXPORT_FORMATS = ("checkpoint", "model", "onnx", "h5")
STDOUT, STDERR = "stdout", "stderr"


def storage_path(given: object, older: object = None) -> Path | None:
    """The absolute directory of all experiments; None if it is not given. ``older``: the value of ``local_dir``.

    Raises UsageError for anything but a path.
    """
    if given is not None and older is not None and Path(str(given)) != Path(str(older)):
        raise UsageError(f"storage_path={given!r} and local_dir={older!r} are the same option. Remove local_dir.")
    chosen = given if given is not None else older
    if chosen is None:
        return None
    if not isinstance(chosen, (str, os.PathLike)) or not str(chosen):
        raise UsageError(f"storage_path must be a directory, not {chosen!r}.")
    text = str(chosen).removeprefix("file://")
    if "://" in text:
        raise UsageError(f"local_dir={text!r} must be a directory that all nodes see. A URL is storage_path.")
    return Path(text).expanduser().absolute()


def seconds(given: object, name: str = "time_budget_s") -> float | None:
    """A number of seconds, or a timedelta, as seconds; None stays None. Raises UsageError unless it is above 0."""
    if given is None:
        return None
    value = given.total_seconds() if isinstance(given, timedelta) else given
    if not is_number(value) or math.isnan(value) or value <= 0:
        raise UsageError(f"{name} must be a number of seconds above 0, or a timedelta, not {given!r}.")
    return float(value)


def checked_name(name: object) -> str:
    """The name of an experiment. Slashes make folders: ``task-1/asha``. Raises UsageError if it is no such name."""
    parts = name.split("/") if isinstance(name, str) else []
    if not parts or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UsageError(
            f"An experiment's name must be a directory name, such as 'mnist' or 'mnist/asha', not {name!r}."
        )
    return str(name)


def place(root: Path, name: str | None) -> tuple[Path, str | None]:
    """The directory that contains the experiment's, and the name of that: of ``task-1/asha`` below ``root/task-1``."""
    if name is None:
        return root, None
    folder, _, last = checked_name(name).rpartition("/")
    return root / folder, last


def log_files(log_to_file: object) -> tuple[str, str]:
    """The names of a trial's stdout and stderr files.

    False, None and True: ``stdout`` and ``stderr`` (the output of a job always goes to files). A name: one file for
    both. A pair: one name each; None in it keeps the default name. An absolute path is one file for all trials. Raises
    UsageError for anything else.
    """
    if log_to_file is None or isinstance(log_to_file, bool):
        return STDOUT, STDERR
    pair: Sequence[object]
    if isinstance(log_to_file, str):
        pair = (log_to_file, log_to_file)
    elif isinstance(log_to_file, (tuple, list)) and len(log_to_file) == 2:
        pair = log_to_file
    else:
        raise UsageError(f"log_to_file must be True, a file name, or a pair (stdout, stderr), not {log_to_file!r}.")
    out, err = (name or default for name, default in zip(pair, (STDOUT, STDERR), strict=True))
    for name in (out, err):
        if not isinstance(name, str) or ("/" in name and not Path(name).is_absolute()) or name in (".", ".."):
            raise UsageError(f"log_to_file must be file names, or absolute paths, not {name!r}.")
    return str(out), str(err)


def checkpoint_config(given: CheckpointConfig | Mapping[str, Any] | None, **older: Any) -> CheckpointConfig:
    """``checkpoint_config``, with the values of the older options ``checkpoint_freq``, ``checkpoint_at_end``,
    ``keep_checkpoints_num`` and ``checkpoint_score_attr``. Raises UsageError if both forms are used."""
    config = CheckpointConfig.parse(given)
    singles = {name: value for name, value in older.items() if value is not None}
    if "checkpoint_score_attr" in singles:
        attribute = str(singles["checkpoint_score_attr"])
        singles["checkpoint_score_order"] = "min" if attribute.startswith("min-") else "max"
        singles["checkpoint_score_attr"] = attribute.removeprefix("min-")
    changes: dict[str, Any] = {_NEWER.get(name, name): value for name, value in singles.items()}
    if given is not None and changes:
        raise UsageError(
            f"{next(iter(singles))} and checkpoint_config are the same option. Put it into checkpoint_config."
        )
    return replace(config, **changes)


_NEWER = {
    "checkpoint_freq": "checkpoint_frequency",
    "keep_checkpoints_num": "num_to_keep",
    "checkpoint_score_attr": "checkpoint_score_attribute",
}


def export_formats(given: Sequence[str] | None) -> tuple[str, ...]:
    """The formats to export at the end. Raises TuneError for one that is not in EXPORT_FORMATS."""
    formats = tuple(given or ()) if not isinstance(given, str) else (given,)
    for name in formats:
        if name not in EXPORT_FORMATS:
            raise TuneError(f"export_formats: {name!r} is not a valid format. Valid are: {', '.join(EXPORT_FORMATS)}.")
    return formats


def restore_path(given: object) -> str | None:
    """The absolute path of the checkpoint directory to start from; None stays None. Raises UsageError otherwise."""
    path = getattr(given, "path", given)  # a Checkpoint has one
    if path is None:
        return None
    directory = checkpoints.directory_of(Path(str(path)).expanduser().absolute())
    if directory.is_file():
        raise UsageError(f"restore={given!r} is a file. Give the checkpoint directory: {directory.parent}")
    if not directory.is_dir():
        raise UsageError(f"restore={given!r}: there is no checkpoint directory {directory}.")
    return str(directory)


def search_space(given: object, name: str = "config") -> dict[str, Any]:
    """The search space; None means an empty one. Raises UsageError if it is not a dict."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UsageError(f"{name} must be a dict of parameters, not {given!r}.")
    return dict(with_expressions(given))


def resource_request(given: object) -> Any:
    """``resources_per_trial`` in the driver's form: a request, or a function from a trial's config to a request."""
    if isinstance(given, Function):
        return _OfSpec(given.func)
    if isinstance(given, Mapping) and any(isinstance(v, Function) or callable(v) for v in given.values()):
        return _EachOfSpec({key: getattr(value, "func", value) for key, value in given.items()})
    return given


class _OfSpec:
    """The resources that a function of ``spec`` computes."""

    def __init__(self, func: Callable[[Any], Any]) -> None:
        self.func = func

    def __call__(self, config: Mapping[str, Any]) -> Any:
        return self.func(config_view(config))


class _EachOfSpec:
    """Resources of which some amounts are functions of ``spec``."""

    def __init__(self, amounts: Mapping[str, Any]) -> None:
        self.amounts = dict(amounts)

    def __call__(self, config: Mapping[str, Any]) -> Any:
        spec = config_view(config)
        return {key: value(spec) if callable(value) else value for key, value in self.amounts.items()}
