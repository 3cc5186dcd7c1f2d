"""Domains as text, for command lines: ``log:1e-4..1e-1``, ``1..10``, ``0..1:0.25``, ``16,32,64``.

=====================  ===============================================================================
text                   meaning
=====================  ===============================================================================
``a..b``               uniform; whole numbers, both ends included, if both ends are whole
``log:a..b``           the same on a logarithmic scale
``a..b:step``          multiples of ``step``
``a..b/n``             ``n`` values at equal distances, as a list (with ``log:`` at equal ratios)
``normal:mean,sd``     normal
``x,y,z``              one of these; a grid if grids are asked for
``x``                  this value
``text:...``           this text, whatever it looks like
``loguniform(a, b)``   any function of the search space, as in Python
=====================  ===============================================================================

Values are numbers, ``true``, ``false``, ``none``, or text; quotes keep text as it is.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
from typing import Any

from hpctune.errors import SearchSpaceError
from hpctune.space import functions

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<log>log:)?(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(?:(?P<kind>[:/])(?P<extra>{_NUMBER}))?")
DOMAINS = (
    "uniform", "quniform", "loguniform", "qloguniform", "randn", "qrandn", "randint", "qrandint", "lograndint",
    "qlograndint", "choice", "grid_search",
)  # fmt: skip
"""The functions of the search space that take values only."""
_CALL = re.compile(r"(?:(?:ray|hpctune|tune)\.)*(?P<name>[A-Za-z_]\w*)\(.*\)", re.DOTALL)
_NORMAL = re.compile(rf"normal:(?P<mean>{_NUMBER}),(?P<sd>{_NUMBER})")
_STATED = re.compile(rf"log:|text:|{_NUMBER}\.\.")
"""How a range begins, and what is a text whatever it looks like."""
_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None}
HELP = "1..10, 1e-4..1e-1, log:1e-4..1e-1, 0..1:0.25 (steps), 0..1/5 (five values), 16,32,64, normal:0,1"


def domain(text: str, *, grid: bool = False) -> Any:
    """The domain, list or constant that ``text`` states. ``grid``: lists are grids. Raises SearchSpaceError."""
    text = text.strip()
    if text.startswith("text:"):
        return text.removeprefix("text:")
    if (call := _CALL.fullmatch(text)) and meant(call["name"]):
        return _called(call)
    if found := _NORMAL.fullmatch(text):
        return _random(functions.randn(float(found["mean"]), float(found["sd"])), text, grid)
    if found := _RANGE.fullmatch(text):
        return _range(found, text, grid)
    if ".." in text and re.match(r"(log:)?[-+.\d]", text):
        raise SearchSpaceError(f"{text!r} is not a range. Ranges: {HELP}.")
    values = [value(part) for part in _split(text)]
    if len(values) == 1:
        return values[0]
    return functions.grid_search(values) if grid else functions.choice(values)


def replacement(text: str) -> Any:
    """What ``text`` puts in the place of a part of a search space: a constant, a domain, or a grid.

    A constant is a Python literal, JSON, or text. A list without brackets and without spaces is a grid. Raises
    SearchSpaceError.
    """
    stripped = text.strip()
    if is_call(stripped) or _NORMAL.fullmatch(stripped):
        return domain(stripped)
    listed = "," in stripped and stripped[0] not in "([{'\"" and not re.search(r"\s", stripped)
    if listed or _STATED.match(stripped):
        return domain(stripped, grid=listed)
    for read in (ast.literal_eval, json.loads):
        try:
            return read(stripped)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


def is_call(text: str) -> bool:
    """Whether ``text`` calls a function of the search space, or one that is spelled nearly so."""
    found = _CALL.fullmatch(text)
    return found is not None and meant(found["name"]) is not None


def meant(name: str) -> str | None:
    """The function of the search space that is called ``name``, or nearly so; None: there is none."""
    return next(iter(difflib.get_close_matches(name, DOMAINS, 1, 0.8)), None)


def check_name(name: str) -> None:
    """Raises SearchSpaceError for a name that is only nearly that of a function of the search space."""
    if name not in DOMAINS and (near := meant(name)) is not None:
        raise SearchSpaceError(f"no domain is called {name!r}. Did you mean {near!r}? All: {', '.join(DOMAINS)}.")


def _called(found: re.Match[str]) -> Any:
    name, text = found["name"], found[0]
    check_name(name)
    try:
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        given = [ast.literal_eval(argument) for argument in call.args]
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, SyntaxError) as error:
        raise SearchSpaceError(f"{text!r} cannot be read: its arguments must be numbers, texts or lists.") from error
    try:
        return getattr(functions, name)(*given, **named)
    except TypeError as error:
        raise SearchSpaceError(f"{text!r}: {error}") from error


def value(text: str) -> Any:
    """A number, True, False, None, or the text itself (without its quotes)."""
    stripped = text.strip()
    if stripped.lower() in _WORDS:
        return _WORDS[stripped.lower()]
    if re.fullmatch(_NUMBER, stripped) or stripped[:1] in ("'", '"'):
        try:
            return ast.literal_eval(stripped.lstrip("+"))
        except (ValueError, SyntaxError):
            try:
                return float(stripped)  # such as 007
            except ValueError:
                return stripped
    return stripped


def items(text: str) -> list[Any] | None:
    """The items of a list in brackets, ``[64, 32]`` or ``[a,'b c']``; None for other text."""
    stripped = text.strip()
    if stripped[:1] + stripped[-1:] not in ("[]", "()") or len(stripped) < 2:
        return None
    inside = stripped[1:-1].strip().removesuffix(",")
    return [value(part) for part in _split(inside)] if inside else []


def _split(text: str) -> list[str]:
    """The parts between commas; commas within quotes, brackets and braces separate nothing."""
    parts, depth, quote, begin = [], 0, "", 0
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth <= 0:
            parts.append(text[begin:at])
            begin = at + 1
    return [*parts, text[begin:]]


def _range(found: re.Match[str], text: str, grid: bool) -> Any:
    low, high = (value(found[name]) for name in ("low", "high"))
    log, whole = found["log"] is not None, isinstance(low, int) and isinstance(high, int)
    if not low < high:
        raise SearchSpaceError(f"{text!r}: the lower end must be below the upper one.")
    if log and low <= 0:
        raise SearchSpaceError(f"{text!r}: a logarithmic range must lie above 0.")
    if found["kind"] == "/":
        return _points(float(low), float(high), value(found["extra"]), log, whole, text, grid)
    if found["kind"] == ":":
        step = value(found["extra"])
        if not 0 < step <= high - low:
            raise SearchSpaceError(f"{text!r}: the step must be above 0 and no longer than the range.")
        if whole and isinstance(step, int):
            # the upper end of a range of whole numbers is included
            made: Any = functions.qlograndint(low, high, step) if log else functions.qrandint(low, high, step)
        else:
            made = functions.qloguniform(low, high, step) if log else functions.quniform(low, high, step)
    elif whole:
        made = functions.lograndint(low, high + 1) if log else functions.randint(low, high + 1)
    else:
        made = functions.loguniform(low, high) if log else functions.uniform(low, high)
    if grid and whole and not log:
        step = value(found["extra"]) if found["kind"] else 1
        return functions.grid_search(list(range(low, high + 1, step)))
    return _random(made, text, grid)


def _points(low: float, high: float, count: object, log: bool, whole: bool, text: str, grid: bool) -> Any:
    if not isinstance(count, int) or count < 2:
        raise SearchSpaceError(f"{text!r}: after the slash stands a number of values, 2 or more.")
    ratio = (high / low) ** (1 / (count - 1)) if log else (high - low) / (count - 1)
    values: list[Any] = [low * ratio**n if log else low + ratio * n for n in range(count - 1)] + [high]
    values = [float(f"{each:.12g}") for each in values]
    if whole and high - low >= count - 1:
        values = list(dict.fromkeys(round(each) for each in values))
    return functions.grid_search(values) if grid else functions.choice(values)


def _random(made: Any, text: str, grid: bool) -> Any:
    if grid:
        raise SearchSpaceError(f"{text!r} is no list, so it has no grid. Say how many values: {text.split(':')[-1]}/5.")
    return made
