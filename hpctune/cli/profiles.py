"""Profiles: named sets of options for jobs in the user's configuration file.

    [profile.a100]
    partition = "a100"
    time = "4:00:00"
    setup = ["source /work/env.sh"]

The keys are the options of ``hpctune run``. What the command line says comes before what a profile says.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hpctune.cli import on
from hpctune.common.text import nearest
from hpctune.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NOT_HERE = frozenset({"config", "arguments", "words", "directory", "name", "resume", "dry_run", "profile"})
"""Parameters that say what is run, not how."""


def file() -> Path:
    """``~/.config/hpctune/config.toml``, or where ``XDG_CONFIG_HOME`` says."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "hpctune" / "config.toml"


def names() -> list[str]:
    """The profiles that there are. Raises UsageError for a file that cannot be read."""
    return list(_profiles())


def use(context: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    """The callback of ``--profile``: let the profile's values be the defaults of the other options.

    With ``--on`` the profile is one of the cluster, and is looked up there. Raises UsageError for an unknown profile,
    or an option that the command does not have.
    """
    if name is None or on.is_wanted(context):
        return name
    profiles = _profiles()
    if name not in profiles:
        there = f"There are: {', '.join(profiles)}." if profiles else "It has none yet: hpctune doctor --profile NAME"
        raise UsageError(f"There is no profile {name!r} in {file()}. {nearest(name, profiles)}{there}")
    values, options = profiles[name], _options(context.command)
    known = {}
    for key, value in values.items():
        option = options.get(key.replace("-", "_"))
        if option is None:
            near = nearest(key, options)
            raise UsageError(
                f"{file()}, profile {name}: hpctune {context.info_name} has no option {key!r}. {near}".strip()
            )
        known[option.name or ""] = _value(option, value, f"{file()}, profile {name}, {key}")
    context.default_map = {**(context.default_map or {}), **known}
    return name


def _options(command: click.Command) -> dict[str, click.Option]:
    """The options that a profile may set, by each of their long names."""
    return {
        flag.removeprefix("--").replace("-", "_"): option
        for option in command.params
        if isinstance(option, click.Option) and option.name not in _NOT_HERE
        for flag in option.opts
        if flag.startswith("--")
    }


def _value(option: click.Option, value: Any, where: str) -> Any:
    """The value as the command line would have it: text, or a list of texts; true and false for a flag."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{where} must be true or false, not {value!r}.")
        return value
    if isinstance(value, Mapping):
        value = [f"{name}={text}" for name, text in value.items()]
    if option.multiple:
        return [str(each) for each in (value if isinstance(value, list) else [value])]
    if isinstance(value, (list, bool)):
        raise UsageError(f"{where} must be one value, not {value!r}.")
    return str(value)


def _profiles() -> dict[str, dict[str, Any]]:
    try:
        data = tomllib.loads(file().read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {file()}: {error}.") from error
    found = data.get("profile", {})
    if not isinstance(found, dict) or not all(isinstance(values, dict) for values in found.values()):
        raise UsageError(f"{file()}: profiles are tables: [profile.NAME]")
    return found


def write(name: str, settings: Sequence[tuple[str, object, str]]) -> Path:
    """Put a profile into the file, in place of an earlier one of this name. ``settings``: option, value, and why.

    Raises UsageError for a name that cannot be one, or a file that cannot be read.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"A profile's name has letters, digits, - and _ only, not {name!r}.")
    _profiles()
    place = file()
    before = place.read_text() if place.exists() else ""
    lines = [f"[profile.{name}]", *(f"{key} = {json.dumps(value)}  # {why}" for key, value, why in settings)]
    section = re.compile(rf"^\[profile\.{re.escape(name)}\][^\n]*\n(?:(?!\[)[^\n]*(?:\n|$))*", re.MULTILINE)
    text = "\n".join(lines) + "\n"
    if section.search(before):
        after = section.sub(lambda _: text + "\n", before, count=1).rstrip() + "\n"
    else:
        after = f"{before.rstrip()}\n\n{text}" if before.strip() else text
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(f".{os.getpid()}")
    draft.write_text(after)
    draft.replace(place)
    return place
