"""Plain text for people: tables, numbers, times. Uses only the standard library."""

from __future__ import annotations

import difflib
import shlex
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpctune.common.checks import is_number


def table(header: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> list[str]:
    """Aligned lines: columns of numbers to the right, others to the left. The last column is not padded."""
    cells = [[clean(cell if isinstance(cell, str) else number(cell)) for cell in row] for row in rows]
    widths = [max(width(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    right = [bool(rows) and all(_numeric(row[i]) for row in rows) for i in range(len(header))]
    return [indent + _line(line, widths, right) for line in [list(header), *cells]]


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, wide, to_right in zip(cells, widths, right, strict=True):
        gap = " " * (wide - width(cell))
        padded.append(gap + cell if to_right else cell + gap)
    return "  ".join(padded).rstrip()


def _numeric(cell: object) -> bool:
    if isinstance(cell, str):
        return cell in ("", "-") or cell.replace(".", "", 1).isdigit()
    return cell is None or is_number(cell)


def width(text: str) -> int:
    """The number of columns that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def clean(text: str) -> str:
    """``text`` as one line without control characters."""
    text = " ".join(text.split())
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def shorten(text: str, max_chars: int) -> str:
    """``text``, cut to ``max_chars`` characters."""
    return text if len(text) <= max_chars else text[: max(max_chars - 3, 0)] + "..."


def shorten_middle(text: str, max_chars: int) -> str:
    """``text``, cut in the middle to ``max_chars`` characters: an error's first and last words say most."""
    if len(text) <= max_chars:
        return text
    kept = max(max_chars - 5, 2)
    return f"{text[: kept // 3].rstrip()} ... {text[len(text) - (kept - kept // 3) :].lstrip()}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A question that names the most similar of the ``known`` names, with a blank at its end; "" if none is similar."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1, 0.5) or [k for k in names if k.split("/")[-1] == name]
    return f"Did you mean {near[0]!r}? " if near else ""


def file_name(text: str | None) -> str | None:
    """``text`` as the name of a file or an experiment: other characters are ``_``. None if nothing is left of it."""
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text or "")
    return kept.strip("_.") or None


def quoted(path: object) -> str:
    """``path`` as a shell takes it: for commands that users copy from a message."""
    return shlex.quote(str(path))


def number(value: object) -> str:
    """A value of a config or a result as short text; floats have five significant digits."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else str(value)


def settings(config: Mapping[str, Any], max_chars: int = 100) -> str:
    """A config as text: ``lr=0.01, layers=3``."""
    texts = (f"{key}={number('None' if value is None else value)}" for key, value in config.items())
    return shorten(clean(", ".join(texts)), max_chars)


def duration(seconds: float, *, exact: bool = False) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``. ``exact``: with seconds below one hour, as ``3 min 05 s``."""
    whole = max(int(seconds), 0)
    minute, hour, day = (60, 3600, 86400) if exact else (120, 7200, 172800)
    if whole < minute:
        return f"{whole} s"
    if whole < hour:
        return f"{whole // 60} min {whole % 60:02d} s" if exact else f"{seconds / 60:.0f} min"
    if whole < day:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    hours = whole % 86400 // 3600
    return f"{whole // 86400} d {hours:02d} h" if exact else f"{whole // 86400} d {hours} h"


def hours(amount: float | None) -> str:
    """A number of hours with two decimals, below 0.1 with four; ``-`` if it is not known."""
    if amount is None:
        return "-"
    return f"{amount:.2f}" if amount >= 0.1 or amount == 0 else f"{amount:.4f}"


def when(at: float) -> str:
    """Unix seconds as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def count(amount: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 trial``, ``3 trials``."""
    return f"{amount} {one if amount == 1 else many or one + 's'}"


def size(amount: float) -> str:
    """A number of bytes for people: ``512 B``, ``1.5 MB``, ``842 MB``."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if amount < 999.5 or unit == "PB":
            break
        amount /= 1000
    digits = f"{amount:.0f}" if amount >= 9.95 else f"{amount:.1f}".removesuffix(".0")
    return f"{digits} {unit}"
