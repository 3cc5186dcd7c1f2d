"""Values in a SEML file: texts that are written as Python values are these, and ``${config.a}`` is another value."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from hpctune.errors import UsageError

_PLACE = re.compile(r"(?<!\\)\$\{([^{}]*)\}")
_MISSING = object()


def with_literals(value: Any) -> Any:
    """``value`` with texts such as ``"1e-5"`` and ``"[1, 2]"`` read as Python reads them; others stay."""
    if isinstance(value, Mapping):
        return {name: with_literals(each) for name, each in value.items()}
    if isinstance(value, list):
        return [with_literals(each) for each in value]
    if not isinstance(value, str):
        return value
    try:
        return json.loads(json.dumps(ast.literal_eval(value)))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return value


def interpolated(row: Mapping[str, Any], seml: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration in which ``${config.NAME}``, ``${seml.NAME}`` and ``${oc.env:NAME}`` have their values.

    Raises UsageError for a place that cannot be filled in from the file.
    """
    return {name: _filled(value, row, seml, (name,)) for name, value in row.items()}


def _filled(value: Any, row: Mapping[str, Any], seml: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_filled(each, row, seml, path) for each in value]
    if isinstance(value, Mapping):
        return {name: _filled(each, row, seml, path) for name, each in value.items()}
    if not isinstance(value, str) or "${" not in value:
        return value
    whole = _PLACE.fullmatch(value)
    if whole is not None:
        return _looked_up(whole[1], row, seml, path)
    return _PLACE.sub(lambda found: str(_looked_up(found[1], row, seml, path)), value)


def _looked_up(place: str, row: Mapping[str, Any], seml: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    block, _, name = place.partition(".")
    found: Any = _MISSING
    if place.startswith("oc.env:"):
        variable, comma, otherwise = place.removeprefix("oc.env:").partition(",")
        found = os.environ.get(variable.strip(), otherwise.strip() if comma else _MISSING)
    elif block == "seml":
        found = seml.get(name, _MISSING)
    elif block == "config" and name in row and name not in path:
        found = _filled(row[name], row, seml, (*path, name))
    elif block == "config":
        inside = {n: v for n, v in row.items() if n.startswith(f"{name}.") and n not in path}
        found = {n.removeprefix(f"{name}."): _filled(v, row, seml, (*path, n)) for n, v in inside.items()} or _MISSING
    if found is _MISSING:
        raise UsageError(
            f"the parameter {path[0]!r} has ${{{place}}}, which has no value in the file. There are "
            f"${{config.NAME}} of its parameters, ${{seml.NAME}} and ${{oc.env:VARIABLE}}. What the experiment itself "
            f"defines is not known before it runs: compute the value there."
        )
    return found
