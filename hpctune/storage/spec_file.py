"""Reads and writes ``experiment.json``, the definition of an experiment, which never changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hpctune.common.text import quoted
from hpctune.errors import NotAnExperimentError, StorageError, UsageError
from hpctune.model.spec import ExperimentSpec
from hpctune.storage import atomic
from hpctune.storage.layout import ExperimentPaths

_FOLDERS = 3
"""How deep experiments are looked for: names may contain slashes."""


def write(paths: ExperimentPaths, spec: ExperimentSpec) -> None:
    """Write the definition. From then on the experiment exists."""
    atomic.write(paths.spec, json.dumps(spec.to_json(), indent=2, default=str) + "\n", durable=True)


def read(paths: ExperimentPaths) -> ExperimentSpec:
    """Read the definition. Raises NotAnExperimentError if there is none."""
    try:
        return ExperimentSpec.from_json(json.loads(paths.spec.read_bytes()))
    except UsageError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotAnExperimentError(_explain(paths.root)) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(f"Cannot read {paths.spec}: {error}.") from error


def find_experiments(root: Path, depth: int = _FOLDERS) -> list[Path]:
    """The directories of the experiments in ``root``, and in its folders that are no experiments themselves."""
    try:
        inside = sorted(Path(entry.path) for entry in os.scandir(root) if entry.is_dir())
    except OSError:
        return []
    found = []
    for path in inside:
        if ExperimentPaths(path).spec.is_file():
            found.append(path)
        elif depth > 1 and not path.name.startswith("."):
            found += find_experiments(path, depth - 1)
    return found


def _explain(root: Path) -> str:
    if not root.exists():
        return f"There is no directory {root}. List experiments with: hpctune list {quoted(root.parent)}"
    inside = [str(path.relative_to(root)) for path in find_experiments(root)[:5]]
    if inside:
        return f"{root} is not an experiment, but contains experiments: {', '.join(inside)}. Name one of them."
    return f"{root} is not an experiment directory: it has no experiment.json. List experiments with: hpctune list DIR"
