"""The block ``slurm`` of a SEML file as options of our jobs."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpctune.cluster.slurm.existing import long_name, options_of
from hpctune.common.checks import is_whole
from hpctune.common.text import nearest
from hpctune.errors import UsageError

KEYS = ("experiments_per_job", "max_simultaneous_jobs", "sbatch_options_template", "sbatch_options")
EARLIER = ("max_jobs_per_batch", "name", "output_dir")
"""Keys of files for an earlier SEML: the first is now max_simultaneous_jobs, the others have no effect."""
DEFAULT = {"time": "0-08:00", "nodes": 1, "cpus-per-task": 1, "mem": "8G"}
"""What holds in SEML where neither the file nor its settings say anything else."""
TEMPLATES: dict[str, dict[str, Any]] = {"GPU": {"cpus-per-task": 2, "mem": "16G", "gres": "gpu:1"}}
"""The templates that SEML has without settings of the user."""
_EXCLUSIVE = (("mem", "mem-per-cpu", "mem-per-gpu"), ("cpus-per-task", "cpus-per-gpu"))


@dataclass(frozen=True, slots=True)
class Jobs:
    """``options``: fields of SlurmOptions. ``dropped``: options of sbatch that hpctune sets itself. ``at_a_time``: how
    many trials may run; None: as many as there is room for. ``unused``: how many blocks were left out."""

    options: dict[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    at_a_time: int | None = None
    unused: int = 0


def jobs_of(stated: Any) -> Jobs:
    """What the block says. Raises UsageError, which names the key.

    Several blocks are alternatives. Those that differ only in their partition are one, with all partitions; of others
    the first one holds.
    """
    blocks = _blocks(stated)
    sbatch = [_sbatch_options(block) for block in blocks]
    first, options = blocks[0], sbatch[0]
    without = [{**options, "partition": None} for options in sbatch]
    per_job = [(block.get("experiments_per_job"), block.get("max_simultaneous_jobs")) for block in blocks]
    unused = len(blocks) - 1
    same = all(each == without[0] and own == per_job[0] for each, own in zip(without, per_job, strict=True))
    if same and all("partition" in each for each in sbatch):
        partitions = ",".join(str(_text(each["partition"])) for each in sbatch)
        options, unused = {**options, "partition": partitions}, 0
    found = options_of((name, _text(value)) for name, value in options.items() if _is_given(name, value))
    at_once = _number(first, "experiments_per_job")
    most = _number(first, "max_simultaneous_jobs") or _number(first, "max_jobs_per_batch")
    if at_once is not None and at_once > 1:
        several = next((n for n in ("nodes", "ntasks", "ntasks-per-node") if str(options.get(n, 1)) != "1"), None)
        if several is not None:
            raise UsageError(f"slurm: experiments_per_job is {at_once}, and a job with {several} has one experiment.")
        found.options |= {"workers": most or "auto", "trials_per_worker": at_once}
        most = None
    return Jobs(found.options, tuple(found.dropped), most, unused)


def _blocks(stated: Any) -> list[Mapping[str, Any]]:
    blocks = [stated or {}] if isinstance(stated, Mapping) or not stated else stated
    if not isinstance(blocks, list) or not all(isinstance(block, Mapping) for block in blocks):
        raise UsageError(f"slurm must be a mapping, or a list of mappings, with {', '.join(KEYS)}; not {stated!r}.")
    for block in blocks:
        unknown = next((key for key in block if key not in (*KEYS, *EARLIER)), None)
        if unknown is not None:
            raise UsageError(f"slurm has no {unknown!r}. {nearest(str(unknown), KEYS)}It has: {', '.join(KEYS)}.")
    return blocks


def _number(block: Mapping[str, Any], key: str) -> int | None:
    value = block.get(key)
    if value is not None and not (is_whole(value) and value > 0):
        raise UsageError(f"slurm: {key} must be a whole number of 1 or more, not {value!r}.")
    return value


def _sbatch_options(block: Mapping[str, Any]) -> dict[str, Any]:
    """The options of sbatch by their long names: the file's before those of its template, and these before SEML's."""
    stated, template = block.get("sbatch_options") or {}, block.get("sbatch_options_template")
    if not isinstance(stated, Mapping):
        raise UsageError(f"slurm: sbatch_options must be a mapping, such as {{mem: 8G}}, not {stated!r}.")
    settings = _settings()
    layers: list[Mapping[str, Any]] = [DEFAULT, settings.get("SLURM_DEFAULT", {}).get("sbatch_options", {})]
    if template is not None:
        templates = {**TEMPLATES, **settings.get("SBATCH_OPTIONS_TEMPLATES", {})}
        if template not in templates:
            raise UsageError(
                f"slurm: there is no sbatch_options_template {template!r} in {_settings_file()}. "
                f"{nearest(str(template), templates)}There are: {', '.join(templates)}."
            )
        layers.append({**TEMPLATES.get(template, {}), **templates[template]})
    found: dict[str, Any] = {}
    for layer in (*layers, stated):
        own = {long_name(str(name)): value for name, value in layer.items()}
        replaced = {name for group in _EXCLUSIVE if any(n in own for n in group) for name in group}
        found = {**{name: value for name, value in found.items() if name not in replaced}, **own}
    return found


def _is_given(name: str, value: Any) -> bool:
    """Whether an option is passed on. A text without letters is no value, and ``exclusive`` needs none."""
    return value is not False and (value != "" or name == "exclusive")


def _text(value: Any) -> str | bool:
    """The value of an option; True for one that has none."""
    if value is None or value is True or value == "":
        return True
    return ",".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _settings_file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "seml" / "settings.py"


def _settings() -> dict[str, Any]:
    """The user's settings of SEML, as far as they are written as plain values. The file is not run."""
    path = _settings_file()
    try:
        tree = ast.parse(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"Cannot read the settings of SEML in {path}: {error}.") from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "SETTINGS" for t in node.targets):
            if not isinstance(node.value, ast.Dict):
                break
            return {
                key.value: _literal(value, path)
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if isinstance(key, ast.Constant) and key.value in ("SLURM_DEFAULT", "SBATCH_OPTIONS_TEMPLATES")
            }
    return {}


def _literal(node: ast.expr, path: Path) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise UsageError(
            f"{path}, line {node.lineno}: hpctune reads these settings without running the file, so they must be plain "
            f"values. Or write the options into sbatch_options of the experiment's file."
        ) from error
