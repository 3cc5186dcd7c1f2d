"""How a program takes its parameters, as far as its source says: argparse, click, Typer, Hydra, absl, Fire."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpctune.common.text import nearest
from hpctune.errors import UsageError
from hpctune.space.tree import GRID_KEY
from hpctune.worker import command_files

STYLES = ("space", "equals", "hydra", "env")
_SWITCHES = ("store_true", "store_false")
_SEVERAL = re.compile(r"\b(?:(list|sequence)|tuple)\[", re.IGNORECASE)
"""An annotation of several values."""
_ABSL_LISTS = {"DEFINE_list": "commas", "DEFINE_spaceseplist": "spaces"}
"""Flags of absl that take several values in one word; those of DEFINE_multi_... are given several times."""
_PARSERS = ("add_argument", "add_option", "option", "Option", "argument")


@dataclass(slots=True)
class Program:
    """``style``: one of STYLES. ``options``: the options in its source, by name with underscores; ``flags``: those
    without a value; ``negatable``: those with a ``--no-`` form. ``lists``: how those with several values take them,
    as a form of hpctune.Command's fields. ``positional``: arguments without a name on the command line. ``known``:
    whether these are all options."""

    style: str = "space"
    options: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    negatable: set[str] = field(default_factory=set)
    lists: dict[str, str] = field(default_factory=dict)
    positional: set[str] = field(default_factory=set)
    known: bool = False


def inspect_program(command: str, directory: Path) -> Program:
    """What the source of the command's Python script says. An empty answer if there is none, or it says nothing."""
    name = command_files.script(command)
    found = Program()
    if name is None:
        return found
    path = directory / (name if name.endswith(".py") else f"{name.replace('.', '/')}.py")
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return found
    partly, commands = False, typer_commands(tree)
    for function in commands:
        _take_typer(function, found)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if any("hydra" in ast.unparse(d) for d in node.decorator_list):
                found.style = "hydra"
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in _PARSERS and not (commands and called == "Option"):
                partly |= not _option(node, found)
            elif called.startswith("DEFINE_") and (names := _texts(node)):
                found.options[names[0]] = f"--{names[0]}"
                found.style = "equals"
                if called in _ABSL_LISTS or called.startswith("DEFINE_multi"):
                    found.lists[names[0]] = _ABSL_LISTS.get(called, "each")
            partly |= called in ("parse_known_args", "add_subparsers")
            found.style = "equals" if called == "Fire" else found.style
    found.known = bool(found.options) and not partly and found.style != "hydra"
    return found


def typer_commands(tree: ast.Module) -> list[ast.FunctionDef]:
    """The functions whose arguments Typer makes options of: those of ``typer.run``, and commands of an app."""
    if not any(
        isinstance(node, (ast.Import, ast.ImportFrom)) and "typer" in ast.unparse(node) for node in ast.walk(tree)
    ):
        return []
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.run")
    named = {argument.id for call in calls for argument in call.args if isinstance(argument, ast.Name)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [f for f in functions if f.name in named or any(_is_command(d) for d in f.decorator_list)]


def _is_command(decorator: ast.expr) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(function, "attr", "") in ("command", "callback")


def _take_typer(function: ast.FunctionDef, program: Program) -> None:
    """Take note of the options of a function: its arguments with defaults, and those that are made by Option."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    defaults: list[ast.expr | None] = [None] * (len(arguments) - len(function.args.defaults))
    pairs = [*zip(arguments, [*defaults, *function.args.defaults], strict=True)]
    pairs += zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    for argument, default in pairs:
        stated = ast.unparse(argument.annotation) if argument.annotation else ""
        calls = [node for part in (argument.annotation, default) if part for node in ast.walk(part)]
        made = next((n for n in calls if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("Option")), None)
        positional = any(isinstance(n, ast.Call) and ast.unparse(n.func).endswith("Argument") for n in calls)
        if positional or (default is None and made is None):
            program.positional.add(argument.arg)
            if _SEVERAL.search(stated):
                program.lists[argument.arg] = "words"
            continue
        written = [text for text in _texts(made) if text.startswith("--")] if made else []
        flag, _, negative = (written[0] if written else f"--{argument.arg.replace('_', '-')}").partition("/")
        for name in {argument.arg, flag.lstrip("-").replace("-", "_")}:
            program.options[name] = flag
            if "bool" in stated:
                (program.negatable if negative or not written else program.flags).add(name)
            elif several := _SEVERAL.search(stated):
                program.lists[name] = "each" if several[1] else "words"


def _texts(node: ast.Call) -> list[str]:
    """The positional arguments of a call that are literal text."""
    return [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]


def _option(node: ast.Call, program: Program) -> bool:
    """Take note of an option; False if its name is not written there."""
    names = _texts(node)
    long = [name for name in names if name.startswith("--")]
    settings = {k.arg: ast.unparse(k.value) for k in node.keywords if k.arg}
    form = _list_form(settings)
    if not long:
        positional = {name.replace("-", "_") for name in names[:1] if not name.startswith("-")}
        program.positional |= positional
        program.lists |= dict.fromkeys(positional, form) if form else {}
        return bool(names)
    for name in long:
        flag, _, negative = name.partition("/")
        key = flag.lstrip("-").replace("-", "_")
        program.options[key] = flag
        if "BooleanOptional" in settings.get("action", "") or negative.startswith("--no-"):
            program.negatable.add(key)
        elif settings.get("action", "").strip("'\"") in _SWITCHES or settings.get("is_flag") == "True":
            program.flags.add(key)
        elif form:
            program.lists[key] = form
    return True


def _list_form(settings: Mapping[str, str]) -> str | None:
    """How an option of argparse or click takes several values; None: it takes one."""
    if settings.get("nargs", "None") not in ("None", "1", "'?'"):
        return "words"
    repeated = settings.get("action") == "'append'" or settings.get("multiple") == "True"
    return "each" if repeated else None


def with_arguments(command: str, space: Mapping[str, Any], program: Program, style: str | None) -> str:
    """The command with each parameter of ``space`` that it does not name itself, in the form that the program takes.

    Raises UsageError for a parameter that the program does not have.
    """
    chosen = style or program.style
    before, after = list[str](), list[str]()
    for name, domain in space.items():
        place = "{" + name + "}"
        if place in command or "{" + name + ":" in command:
            continue
        key = name.lstrip("-").replace("-", "_").replace("/", "_" if name.replace("/", "_") in program.options else ".")
        if style is None and key in program.positional and key not in program.options:
            place = "{" + name + ":words}" if key in program.lists else place
            raise UsageError(
                f"The program takes {name!r} as an argument without a name. Write {place} in the command where it "
                f"belongs."
            )
        if program.known and style is None and key not in program.options:
            raise UsageError(
                f"The program has no option for {name!r}. {nearest(key, program.options)}It has: "
                f"{', '.join(program.options.values())}. To pass it anyway: --style space."
            )
        option = program.options.get(key, f"--{name.lstrip('-').replace('/', '.')}")
        if style is None and (key in program.flags or key in program.negatable):
            _check_switch(option, domain)
            otherwise = f" || echo --no-{option.lstrip('-')}" if key in program.negatable else ""
            after.append(f"$([ {place} = True ] && echo {option}{otherwise})")
        elif style is None and key in program.lists:
            after.append(_listed(option, name, program.lists[key], chosen))
        elif chosen == "env":
            before.append(f"{key.upper()}={place}")
        elif chosen == "hydra":
            after.append(f"{name.replace('/', '.')}={place}")
        else:
            after.append(f"{option}={place}" if chosen == "equals" else f"{option} {place}")
    end = _end_of_arguments(command)
    rest = [command[end:]] if command[end:] else []
    return " ".join([*before, command[:end].rstrip(" ") if rest else command, *after, *rest])


def _listed(option: str, name: str, form: str, style: str) -> str:
    """An option that takes several values, with the field that gives them."""
    if form == "each":
        return "{" + f"{name}:each {option}" + "}"
    return f"{option}{'=' if style == 'equals' else ' '}" + "{" + f"{name}:{form}" + "}"


def _end_of_arguments(command: str) -> int:
    """Where further arguments of the last program belong: at the end, but before a pipe or a redirection."""
    begin = max((found.end() for found in re.finditer(r"&&|\|\||;", command)), default=0)
    return begin + end_of_program(command[begin:])


def _check_switch(option: str, domain: Any) -> None:
    """Raise UsageError unless all values are True or False."""
    values = domain[GRID_KEY] if isinstance(domain, Mapping) else getattr(domain, "categories", [domain])
    wrong = next((value for value in values if not isinstance(value, bool)), None)
    if wrong is not None:
        raise UsageError(f"{option} takes no value in the program: give true,false, true or false, not {wrong!r}.")


def end_of_program(command: str) -> int:
    """Where a program's words end in a line: before a pipe, a redirection, another command or a comment."""
    quote, escaped = "", False
    for at, char in enumerate(command):
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "|;&<>" or (char == "#" and command[at - 1 : at].isspace()):
            return at - 1 if char == ">" and command[at - 1 : at].isdigit() else at
    return len(command)
