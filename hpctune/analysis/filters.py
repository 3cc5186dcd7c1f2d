"""Filter expressions such as ``accuracy > 0.9 and status == "TERMINATED"``: parsed, never evaluated as code.

Operators: ``==`` (or ``=``), ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``~`` (contains, as text), ``and``, ``or``, ``not``,
parentheses. Names are columns, with ``/`` and ``.`` as they are (``config/lr``). If the columns are known, their names
may contain anything (``val acc (%)``); otherwise such names are written in backquotes. A column that a row does not
have makes a comparison false (but ``!=`` true).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hpctune.errors import UsageError

Row = Mapping[str, Any]
Predicate = Callable[[Row], bool]
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w/]))"
    r"|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<quoted>`[^`]+`)"
    r"|(?P<operator>==|!=|<=|>=|[=<>~()])"
    r"|(?P<name>\w[\w/.:\-]*))"
)
_PLAIN_NAME = re.compile(r"\w[\w/.:\-]*")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONSTANTS = {"true": True, "false": False, "none": None, "nan": float("nan"), "inf": float("inf")}


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed expression. ``columns``: those that it compares."""

    columns: tuple[str, ...]
    accepts: Predicate

    def __call__(self, row: Row) -> bool:
        """Whether the expression is true of ``row``."""
        return self.accepts(row)


def parse(expression: str, columns: Collection[str] = ()) -> Filter:
    """The filter of ``expression``. Raises UsageError, with the position, if it is invalid.

    ``columns``: the known ones. A parameter may be named without its ``config/``, if no other column has that name.
    """
    parser = _Parser(expression, columns)
    predicate = parser.any_of()
    if parser.kind != "end":
        raise parser.error("and, or, or the end")
    return Filter(tuple(dict.fromkeys(parser.used)), predicate)


def column_of(name: str, columns: Collection[str]) -> str:
    """The column that ``name`` means: itself, or the parameter of that name."""
    return f"config/{name}" if name not in columns and f"config/{name}" in columns else name


class _Parser:
    """Recursive descent over tokens; ``kind`` and ``text`` are those of the token ahead."""

    def __init__(self, expression: str, columns: Collection[str]) -> None:
        self._expression, self._position, self._columns = expression, 0, columns
        bare = {c.removeprefix("config/") for c in columns} | set(columns)
        self._odd = sorted((c for c in bare if not _PLAIN_NAME.fullmatch(c)), key=len, reverse=True)
        self.used: list[str] = []
        self.kind = self.text = ""
        self._start = 0
        self._advance()

    def _advance(self) -> None:
        rest = self._expression[self._position :]
        self._start = self._position + len(rest) - len(rest.lstrip())
        if not rest.strip():
            self.kind, self.text = "end", ""
            return
        odd = next((c for c in self._odd if self._expression.startswith(c, self._start)), None)
        if odd is not None:
            self._position, self.kind, self.text = self._start + len(odd), "name", odd
            return
        match = _TOKEN.match(self._expression, self._position)
        if match is None:
            raise self.error("a column, a value or an operator")
        self._position = match.end()
        self.kind = str(match.lastgroup)
        self.text = match.group(self.kind)

    def error(self, expected: str) -> UsageError:
        return UsageError(
            f"Filter {self._expression!r}: expected {expected} at character {self._start + 1}. "
            "Examples: 'accuracy > 0.9', 'status == TERMINATED and config/lr <= 0.1'."
        )

    def _word(self, word: str) -> bool:
        """Whether ``word`` is ahead; if so it is passed."""
        if self.kind in ("name", "operator") and self.text.lower() == word:
            self._advance()
            return True
        return False

    def any_of(self) -> Predicate:
        parts = [self._all_of()]
        while self._word("or"):
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _all_of(self) -> Predicate:
        parts = [self._one()]
        while self._word("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _one(self) -> Predicate:
        if self._word("not"):
            inner = self._one()
            return lambda row: not inner(row)
        if self._word("("):
            inside = self.any_of()
            if not self._word(")"):
                raise self.error("a closing parenthesis")
            return inside
        return self._comparison()

    def _comparison(self) -> Predicate:
        if self.kind not in ("name", "quoted"):
            raise self.error("a column")
        column = column_of(self.text.strip("`"), self._columns)
        self.used.append(column)
        self._advance()
        if self.kind != "operator" or self.text not in (*_COMPARE, "~"):
            return lambda row: bool(row.get(column))
        symbol = self.text
        self._advance()
        value = self._value()
        return lambda row: _holds(row.get(column), symbol, value)

    def _value(self) -> Any:
        kind, text = self.kind, self.text
        if kind not in ("number", "text", "name", "quoted"):
            raise self.error("a value")
        self._advance()
        if kind == "number":
            return float(text)
        if kind == "name":
            return _CONSTANTS.get(text.lower(), text)
        return text[1:-1]


def _holds(found: Any, symbol: str, value: Any) -> bool:
    if symbol == "~":
        return found is not None and str(value) in str(found)
    if found is None or value is None:
        return symbol in ("==", "=", "!=") and _COMPARE[symbol](found, value)
    if isinstance(value, str) != isinstance(found, str):
        if symbol not in ("==", "=", "!="):
            return False  # a number is neither more nor less than a word
        found, value = str(found), f"{value:g}" if isinstance(value, float) else str(value)
    try:
        return bool(_COMPARE[symbol](found, value))
    except TypeError:
        return False
