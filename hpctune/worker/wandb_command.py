"""``WandbCommand``: a program that W&B's sweep agent would run, with what that agent would give it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hpctune.common.named_state import pickled_by_name
from hpctune.common.text import nearest
from hpctune.errors import UsageError
from hpctune.storage import atomic
from hpctune.worker.hearing import HeardCommand, interpreter

SITE = str(Path(__file__).parent / "wandb_site")
"""Stands before the installed wandb on the search path of the program."""
DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
ARGUMENTS = (
    "args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags", "args_json", "args_json_file",
    "args_append_hydra", "args_override_hydra",
)  # fmt: skip
MACROS = ("env", "interpreter", "program", *ARGUMENTS)
_ALL_PARAMETERS = "${args} gives all parameters, as --NAME=VALUE"
_MACRO = re.compile(r"\$\{(\w+)\}")
_VARIABLE = re.compile(r"\$\{envvar:([A-Za-z0-9_]*)\}")


@pickled_by_name
@dataclass(frozen=True, slots=True)
class WandbCommand(HeardCommand):
    """A command of a sweep configuration: a list in which words such as ``${args}`` are macros.

    The program gets the environment of a W&B run: kept on disk (``WANDB_MODE=offline``) in the trial's directory,
    unless the environment says something else. What it logs by ``wandb.log`` is a report of the trial.

    - ``metric``: which logged value makes a report; None: each call does.
    - ``project``, ``entity``: of the runs.
    - ``agent``: the program calls ``wandb.agent(function=...)`` itself: which of its calls is this search, from 1.
    """

    SITE: ClassVar[str] = SITE
    project: str | None = None
    entity: str | None = None
    agent: int = 0

    def program(self, config: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
        """The program's argument list and variables. Writes the files that they name to the trial's directory."""
        directory = Path(facts["trial_dir"])
        experiment = directory.parent.name
        sweep = os.environ.get("WANDB_SWEEP_ID") or hashlib.sha256(experiment.encode()).hexdigest()[:8]
        parameters = directory / "wandb-config.yaml"
        atomic.write(parameters, _as_yaml(config))
        variables = {
            "WANDB_SWEEP_ID": sweep,
            "WANDB_RUN_ID": f"{sweep}-{facts['trial_id']}",
            "WANDB_SWEEP_PARAM_PATH": str(parameters),
            **self.heard(),
        }
        usual = {
            "WANDB_MODE": "offline",
            "WANDB_DIR": str(directory),
            "WANDB_RESUME": "allow",
            "WANDB_RUN_GROUP": experiment,
            "WANDB_PROJECT": self.project,
            "WANDB_ENTITY": self.entity,
        }
        variables |= {name: value for name, value in usual.items() if value is not None and not os.environ.get(name)}
        variables |= {"HPCTUNE_WANDB_AGENT": str(int(self.agent))} if self.agent else {}
        return list(self._words(config, directory)), variables

    def _words(self, config: Mapping[str, Any], directory: Path) -> list[str]:
        words: list[str] = []
        for word in map(str, self.command):
            found = _MACRO.fullmatch(word)
            if found is None:
                words.append(_VARIABLE.sub(lambda m: os.environ.get(m[1], m[1]), word))
            elif found[1] == "env":
                words.append("/usr/bin/env")
            elif found[1] == "interpreter":
                words.append(interpreter())
            elif found[1] == "args_json_file":
                path = directory / "wandb-config.json"
                atomic.write(path, json.dumps(dict(config)))
                words.append(str(path))
            else:
                words += arguments(found[1], config)
        return words


def arguments(macro: str, config: Mapping[str, Any]) -> list[str]:
    """What a macro about the parameters stands for, in the forms of W&B's agent."""
    pairs = [(name, f"{name}={value}", value) for name, value in config.items()]
    match macro:
        case "args":
            return [f"--{pair}" for _, pair, _ in pairs]
        case "args_no_equals":
            return [word for name, _, value in pairs for word in (f"--{name}", str(value))]
        case "args_no_hyphens":
            return [pair for _, pair, _ in pairs]
        case "args_no_boolean_flags":
            return [f"--{name}" if value is True else f"--{pair}" for name, pair, value in pairs if value is not False]
        case "args_json":
            return [json.dumps(dict(config))]
        case "args_append_hydra":
            return [f"+{pair}" for _, pair, _ in pairs]
        case "args_override_hydra":
            return [f"++{pair}" for _, pair, _ in pairs]
    raise UsageError(f"There is no macro ${{{macro}}}.")


def check_macros(words: Sequence[Any], parameters: Container[str] = ()) -> None:
    """Raises UsageError for a word that looks like a macro, and is none of W&B's. ``parameters``: of the sweep."""
    for word in map(str, words):
        found = _MACRO.fullmatch(word)
        if found is None or found[1] in MACROS:
            continue
        known = ", ".join(f"${{{name}}}" for name in MACROS)
        if found[1] in parameters:
            helps = f"{_ALL_PARAMETERS}; a single one has no macro."
        else:
            helps = f"{nearest(found[1], MACROS)}A variable of the environment is ${{envvar:{found[1]}}}."
        raise UsageError(f"command has {word}, which is no macro of W&B. {helps} Macros: {known}.")


def literal_parameters(words: Sequence[Any], parameters: Container[str]) -> str:
    """What to say of an option such as ``--lr=${lr}``, which the program gets as it stands; "" if there is none."""
    for word in map(str, words):
        if word.startswith("-") and any(name in parameters for name in _MACRO.findall(word)):
            return f"The program gets {word} as it stands, since W&B fills no parameter in. {_ALL_PARAMETERS}."
    return ""


def _as_yaml(config: Mapping[str, Any]) -> str:
    import yaml

    content = {"wandb_version": 1, **{name: {"value": value} for name, value in config.items()}}
    text: str = yaml.safe_dump(content, sort_keys=False)
    return text
