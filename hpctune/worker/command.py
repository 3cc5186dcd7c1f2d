"""``Command``: a trainable that is a program, in any language."""

from __future__ import annotations

import json
import re
import shlex
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpctune.errors import TrainableError
from hpctune.storage import values

_PRINTED = re.compile(r"^\s*(?:hpctune|RESULT)\s*:\s*(.+?)\s*$")
_ASSIGNMENT = re.compile(r"([A-Za-z_][\w./-]*)\s*=\s*(\S+?)(?=[,;\s]|$)")

Parse = Callable[[str], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Command:
    """Run a program for each trial: ``Command("python train.py --lr {lr}")``, or a list of arguments.

    Fields in braces are parameters (``{lr}``, ``{model/depth}``), ``{trial_id}``, ``{trial_name}``, ``{trial_dir}`` or
    ``{checkpoint}`` (empty for a fresh start). In a string each field is one word for the shell, whatever its value
    is. ``{{`` is a literal brace. The file named by ``HPCTUNE_CONFIG`` (JSON) holds the whole configuration; each
    parameter is also a variable, such as ``HPCTUNE_PARAM_LR``.

    The program reports by printing a line ``hpctune: loss=0.3 step=5`` (or ``RESULT: loss=0.3``, or JSON after the
    colon) to stdout or stderr, by calling ``hpctune report loss=0.3``, or from Python by ``hpctune.report(loss=0.3)``.
    ``parse`` reads other lines of both: a function from a line to a dict (or None), or a regular expression with named
    groups.

    ``env`` is added to the program's environment. ``cwd`` is its working directory (default: the trial's directory).
    """

    command: str | Sequence[str]
    parse: str | Parse | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    resources: Any = None
    """The request of each trial, in the form of ``with_resources``."""
    __name__: str = "command"

    def __post_init__(self) -> None:
        if not self.command or not isinstance(self.command, (str, list, tuple)):
            raise TrainableError(f"Command needs a command line, as a string or a list, not {self.command!r}.")
        if isinstance(self.parse, str):
            pattern = re.compile(self.parse)
            if not pattern.groupindex:
                raise TrainableError(f"parse={self.parse!r} has no named group, such as (?P<loss>[0-9.]+).")
        words = self.command.split() if isinstance(self.command, str) else [str(w) for w in self.command]
        program = next((Path(w).name for w in words if "{" not in w), "command")
        object.__setattr__(self, "__name__", re.sub(r"\W+", "_", program) or "command")

    def arguments(self, fields: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
        """The program's argument list (the shell's for a string), and the variables to add to its environment.

        Raises TrainableError for an unknown field.
        """
        if isinstance(self.command, str):
            text, variables = _fill_shell(self.command, fields)
            return ["/bin/sh", "-c", text], variables
        return [_fill(str(word), fields) for word in self.command], {}

    def results_in(self, line: str) -> Mapping[str, Any] | None:
        """The result that a line of output reports, or None."""
        if self.parse is None:
            return printed_result(line)
        if isinstance(self.parse, str):
            found = re.search(self.parse, line)
            return {k: _value(v) for k, v in found.groupdict().items() if v is not None} if found else None
        row = self.parse(line)
        if row is not None and not isinstance(row, Mapping):
            raise TrainableError(f"parse must return a dict of results or None, not {row!r}.")
        return row


class _Shell:
    """Reads shell text and tracks the quotes: a value stands within ``'``, within ``"``, or bare."""

    def __init__(self) -> None:
        self._open = [""]

    @property
    def place(self) -> str:
        return self._open[-1]

    def read(self, text: str) -> None:
        at = 0
        while at < len(text):
            char, inside = text[at], self.place
            if inside == "'":
                if char == "'":
                    self._open.pop()
            elif char == "\\":
                at += 1
            elif char == '"' and inside == '"':
                self._open.pop()
            elif char == '"' or (char == "'" and inside != '"'):
                self._open.append(char)
            elif text.startswith("$(", at):
                self._open.append("(")
                at += 1
            elif char == ")" and inside == "(":
                self._open.pop()
            at += 1


def _fill_shell(template: str, fields: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The shell's text, and variables that hold every value that is not a plain word. A shell that expands a variable
    never executes its content, so no value can become a command."""
    shell, text, variables = _Shell(), "", dict[str, str]()
    for literal, value in _pieces(template, fields):
        shell.read(literal)
        text += literal
        if value is None:
            continue
        if shlex.quote(value) == value:
            text += value
            continue
        name = f"HPCTUNE_VALUE_{len(variables)}"
        variables[name] = value
        text += {'"': f"${{{name}}}", "'": f"'\"${{{name}}}\"'"}.get(shell.place, f'"${{{name}}}"')
    return text, variables


def _fill(template: str, fields: Mapping[str, Any]) -> str:
    return "".join(literal + (value or "") for literal, value in _pieces(template, fields))


def _pieces(template: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Pieces of literal text, each with the value of the field that follows it (None: no field follows)."""
    try:
        for literal, name, spec, conversion in string.Formatter().parse(template):
            yield literal, None if name is None else _value_text(_field(name, fields), spec or "", conversion)
    except ValueError as error:
        raise TrainableError(
            f"The command {template!r} cannot be filled in: {error}. Write a literal brace twice."
        ) from error


def _field(field_name: str, fields: Mapping[str, Any]) -> Any:
    name = field_name.removeprefix("config.").replace(".", "/") if field_name not in fields else field_name
    if name not in fields:
        raise TrainableError(
            f"The command names {{{field_name}}}, which is not a parameter. Known fields: "
            f"{', '.join(sorted(fields))}. Write a literal brace twice."
        )
    return fields[name]


def _value_text(value: Any, spec: str, conversion: str | None) -> str:
    if conversion:
        value = string.Formatter().convert_field(value, conversion)
    filled = format(value, spec) if spec else text_of(value)
    if "\0" in filled:
        raise TrainableError(f"{value!r} contains a null character; no program takes that as an argument. Remove it.")
    return filled


def text_of(value: Any) -> str:
    """``value`` as a program's argument or variable: JSON for dicts and lists."""
    return value if isinstance(value, str) else values.dumps(value) if isinstance(value, (dict, list)) else str(value)


def printed_result(line: str) -> Mapping[str, Any] | None:
    """The result in ``hpctune: loss=0.3 step=5``, ``RESULT: loss=0.3`` or ``hpctune: {"loss": 0.3}``; else None."""
    found = _PRINTED.match(line)
    if found is None:
        return None
    text = found.group(1)
    if text.startswith("{"):
        try:
            data = json.loads(text)
        except ValueError:
            return None
        return data if isinstance(data, dict) else None
    return {key: _value(value) for key, value in _ASSIGNMENT.findall(text)} or None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
