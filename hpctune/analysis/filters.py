"""Filter expressions such as ``accuracy > 0.9 and status == "TERMINATED"``: parsed, never evaluated as code.

Operators: ``==`` (or ``=``), ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``~`` (contains, as text), ``and``, ``or``, ``not``,
parentheses. Names are columns, with ``/`` and ``.`` as they are (``config/lr``); in backquotes any name. A column that
a row does not have makes a comparison false (but ``!=`` true).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from hpctune.errors import UsageError

Row = Mapping[str, Any]
Predicate = Callable[[Row], bool]
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w/]))"
    r"|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<quoted>`[^`]+`)"
    r"|(?P<operator>==|!=|<=|>=|[=<>~()])"
    r"|(?P<name>[A-Za-z_0-9][\w/.:\-]*))"
)
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


def parse(expression: str) -> Predicate:
    """The predicate of ``expression``. Raises UsageError, with the position, if it is invalid."""
    parser = _Parser(expression)
    predicate = parser.any_of()
    if parser.kind != "end":
        raise parser.error("and, or, or the end")
    return predicate


class _Parser:
    """Recursive descent over tokens; ``kind`` and ``text`` are those of the token ahead."""

    def __init__(self, expression: str) -> None:
        self._expression, self._position = expression, 0
        self.kind = self.text = ""
        self._start = 0
        self._advance()

    def _advance(self) -> None:
        rest = self._expression[self._position :]
        self._start = self._position + len(rest) - len(rest.lstrip())
        if not rest.strip():
            self.kind, self.text = "end", ""
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
        column = self.text.strip("`")
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
