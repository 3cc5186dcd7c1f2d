"""``Command``: a trainable that is a program, in any language."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, ClassVar

from hpctune.common.named_state import pickled_by_name
from hpctune.errors import TrainableError, UsageError
from hpctune.model.rows import flatten
from hpctune.space import text as space_text
from hpctune.storage import values
from hpctune.worker import command_files

_PRINTED = re.compile(r"^\s*(?:hpctune|RESULT)\s*:\s*(.+?)\s*$")
_ASSIGNMENT = re.compile(r"([A-Za-z_][\w./-]*)\s*=\s*(\S+?)(?=[,;\s]|$)")

LIST_FORMS = ("words", "each", "commas", "spaces")
"""How a field can give a list, as what follows its colon."""
FACTS = ("trial_id", "trial_name", "trial_dir", "checkpoint")
"""The fields that are no parameters."""

Parse = Callable[[str], Mapping[str, Any] | None]


@pickled_by_name
@dataclass(frozen=True, slots=True)
class Command:
    """Run a program for each trial: ``Command("python train.py --lr {lr}")``, or a list of arguments.

    Fields in braces are parameters (``{lr}``, ``{model/depth}``), ``{trial_id}``, ``{trial_name}``, ``{trial_dir}`` or
    ``{checkpoint}`` (empty for a fresh start). In a string each field is one word for the shell, whatever its value
    is. A list, or text such as ``[64, 32]``, becomes several words by ``{layers:words}`` (``64 32``) or
    ``{layers:each --layer}`` (``--layer 64 --layer 32``), and one word by ``{layers:commas}`` or ``{layers:spaces}``.
    ``{{`` is a literal brace. The file named by ``HPCTUNE_CONFIG`` (JSON) holds the whole configuration; each
    parameter is also a variable, such as ``HPCTUNE_PARAM_LR``.

    The program reports by printing a line ``hpctune: loss=0.3 step=5`` (or ``RESULT: loss=0.3``, or JSON after the
    colon) to stdout or stderr, by calling ``hpctune report loss=0.3``, or from Python by ``hpctune.report(loss=0.3)``.
    ``parse`` reads other lines of both: a function from a line to a dict (or None), or a regular expression with named
    groups.

    ``env`` is added to the program's environment. ``cwd`` is its working directory (default: the trial's directory).

    Scripts, programs and configuration files that the command names (``train.py``, ``conf/a.yaml``) are those beside
    the user: of the directory where the Command was made, which ``HPCTUNE_START_DIR`` and ``{start_dir}`` name. All
    other names are relative to the working directory.
    """

    command: str | Sequence[str]
    parse: str | Parse | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    resources: Any = None
    """The request of each trial, in the form of ``with_resources``."""
    __name__: str = "command"
    start_dir: str = ""
    """Where the command was made. Set by the constructor."""
    OTHER_PATHS: ClassVar[tuple[str, ...]] = ()
    """Further fields with paths of files beside the user."""

    def __post_init__(self) -> None:
        if not self.command or not isinstance(self.command, (str, list, tuple)):
            raise TrainableError(f"Command needs a command line, as a string or a list, not {self.command!r}.")
        if isinstance(self.parse, str):
            pattern = re.compile(self.parse)
            if not pattern.groupindex:
                raise TrainableError(f"parse={self.parse!r} has no named group, such as (?P<loss>[0-9.]+).")
        object.__setattr__(self, "__name__", command_files.name_of(self.command))
        if not self.start_dir:
            with contextlib.suppress(OSError):
                object.__setattr__(self, "start_dir", str(Path.cwd()))

    def check_files(self) -> None:
        """Raises UsageError if the command names a script that is not there."""
        start = str(Path(self.start_dir, self.cwd or ""))
        missing = command_files.missing_script(self.command, start) if self.start_dir else None
        if missing is not None:
            raise UsageError(
                f"The command {self.command!r} names {missing}, which is not in {start}. Start the search where it is, "
                f"name its absolute path, or set Command(cwd=...)."
            )

    @property
    def working_directory(self) -> str | None:
        """Where the program runs; None: in its trial's directory. A relative ``cwd`` is one of the start directory."""
        return self.cwd if self.cwd is None else str(Path(self.start_dir, self.cwd).expanduser())

    def moved(self, place: Callable[[str], str]) -> Command:
        """The same command for another place of the files beside the user. ``place`` gives a text's paths there."""
        names = ("command", "env", "cwd", "start_dir", *self.OTHER_PATHS)
        return replace(self, **{name: moved_values(getattr(self, name), place) for name in names})

    def arguments(self, fields: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
        """The program's argument list (the shell's for a string), and the variables to add to its environment.

        Raises TrainableError for an unknown field.
        """
        fields = {"start_dir": self.start_dir, **fields}
        command = self.command
        if self.start_dir and self.cwd is None:
            command = command_files.with_paths(command, self.start_dir)
        if isinstance(command, str):
            text, variables = _fill_shell(command, fields)
            return ["/bin/sh", "-c", text], variables
        return [filled for word in command for filled in _fill(str(word), fields)], {}

    def program(self, config: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
        """The same for a trial's configuration. ``facts``: the fields that are no parameters, by name."""
        return self.arguments({**config, **flatten(config), **facts})

    def check_fields(self, config: Mapping[str, Any]) -> None:
        """Raises TrainableError if a field is none that a trial of ``config`` has."""
        self.program(config, dict.fromkeys(FACTS, ""))

    def search_path(self, known: str | None) -> dict[str, str]:
        """Variables for a program that runs in another directory than where the command was made: that directory, also
        by the name that batch scripts know, and Python's search path with it (at its end) for ``python -m``.
        ``known``: the present search path."""
        if not self.start_dir:
            return {}
        found = {"HPCTUNE_START_DIR": self.start_dir, "SLURM_SUBMIT_DIR": self.start_dir}
        if command_files.runs_module(self.command):
            found["PYTHONPATH"] = os.pathsep.join([known, self.start_dir] if known else [self.start_dir])
        return found

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


def moved_values(value: Any, place: Callable[[str], str]) -> Any:
    """``value`` with all its texts at another place (see :meth:`Command.moved`)."""
    if isinstance(value, str):
        return place(value)
    if isinstance(value, Mapping):
        return {name: moved_values(one, place) for name, one in value.items()}
    if isinstance(value, PurePath):
        return type(value)(place(str(value)))
    kind = next((kind for kind in (list, tuple) if isinstance(value, kind)), None)
    return value if kind is None else kind(moved_values(one, place) for one in value)


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
    for literal, given in _pieces(template, fields):
        shell.read(literal)
        text += literal
        words = []
        for value in given:
            if shlex.quote(value) == value:
                words.append(value)
                continue
            name = f"HPCTUNE_VALUE_{len(variables)}"
            variables[name] = value
            words.append({'"': f"${{{name}}}", "'": f"'\"${{{name}}}\"'"}.get(shell.place, f'"${{{name}}}"'))
        text += " ".join(words)
    return text, variables


def _fill(template: str, fields: Mapping[str, Any]) -> list[str]:
    """The words that a word of a list becomes: several if it is nothing but a field of several words."""
    pieces = list(_pieces(template, fields))
    if len(pieces) == 1 and not pieces[0][0]:
        return pieces[0][1]
    return ["".join(literal + " ".join(words) for literal, words in pieces)]


def _pieces(template: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Pieces of literal text, each with the words of the field that follows it."""
    try:
        for literal, name, spec, conversion in string.Formatter().parse(template):
            yield literal, [] if name is None else _words_of(_field(name, fields), spec or "", conversion)
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


def _words_of(value: Any, spec: str, conversion: str | None) -> list[str]:
    if conversion:
        value = string.Formatter().convert_field(value, conversion)
    form, _, option = spec.partition(" ")
    if form in LIST_FORMS:
        items = [text_of(item) for item in _items_of(value)]
        if form in ("words", "each"):
            filled = [word for item in items for word in (*option.split(), item)]
        else:
            filled = [("," if form == "commas" else " ").join(items)]
    else:
        filled = [format(value, spec) if spec else text_of(value)]
    if any("\0" in word for word in filled):
        raise TrainableError(f"{value!r} contains a null character; no program takes that as an argument. Remove it.")
    return filled


def _items_of(value: Any) -> list[Any]:
    """The items of a list, or of text in brackets; else the value alone."""
    if isinstance(value, str):
        listed = space_text.items(value)
        return [value] if listed is None else listed
    return list(value) if isinstance(value, (list, tuple)) else [value]


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
