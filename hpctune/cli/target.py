"""The object in a config file that is to be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from hpctune.cli.configfile import defined_names
from hpctune.errors import ConfigFileError

MAX_NAMES = 12


def target(path: Path, module: ModuleType) -> Callable[[], object]:
    """The function that runs it. Raises ConfigFileError if the file has none, or a name has the wrong type."""
    from hpctune.launch.definition import Experiment
    from hpctune.tune import run_experiments
    from hpctune.tuner import Tuner

    tuner, experiment = getattr(module, "tuner", None), getattr(module, "experiment", None)
    if tuner is not None and experiment is not None:
        raise ConfigFileError(f"{path} defines both 'tuner' and 'experiment'. Keep one of them.")
    if tuner is not None:
        if not isinstance(tuner, Tuner):
            raise ConfigFileError(f"{path}: 'tuner' must be an hpctune.Tuner, not {_kind(tuner)}.")
        return tuner.fit
    if experiment is not None:
        if isinstance(experiment, Mapping):
            experiment = _named(experiment, path.stem)
        elif not isinstance(experiment, Experiment):
            raise ConfigFileError(
                f"{path}: 'experiment' must be an hpctune.Experiment or a dict, not {_kind(experiment)}."
            )
        return lambda: run_experiments(experiment)
    raise ConfigFileError(_nothing(path, module))


def _named(experiment: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A dict of named experiments; an experiment without a name, such as ``{"run": train, ...}``, gets the file's."""
    return {name: experiment} if "run" in experiment else experiment


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{'an' if type(value).__name__[0] in 'aeiouAEIOU' else 'a'} {type(value).__name__}"


def _nothing(path: Path, module: ModuleType) -> str:
    names = defined_names(module)
    shown = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    return (
        f"{path} defines nothing to run. Looked for: 'tuner' (an hpctune.Tuner), 'experiment' (an hpctune.Experiment "
        f"or a dict), or a call of hpctune.run(...) or Tuner.fit() in it. Its top-level names are: {shown or 'none'}."
    )
