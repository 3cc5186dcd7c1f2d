"""Parameters on a command line, ``lr=0.1``, and tables of them in files."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Container, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from hpctune.errors import UsageError
from hpctune.space.text import HELP, value

_WITH_VARIABLES = re.compile(r"(?:[A-Za-z_]\w*=\S*(?<![,:])\s+)+[^\s=]")
_TABLES = {".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl"}


def is_pair(word: str) -> bool:
    """Whether a word is ``NAME=...``, not a path or a command, which may begin with variables: ``A=1 python x.py``."""
    name, sign, _ = word.partition("=")
    return bool(sign) and " " not in name and "/" not in name and not _WITH_VARIABLES.match(word)


def read_pairs(words: Sequence[str], hint: str = "") -> dict[str, str]:
    """``NAME=DOMAIN`` words as a dict of texts. Raises UsageError for other words; ``hint`` ends its message."""
    pairs: dict[str, str] = {}
    for word in words:
        name, sign, text = word.partition("=")
        name = name.lstrip("-")
        if not sign or not name or not text.strip():
            raise UsageError(f"{word!r} is not NAME=DOMAIN. Domains: {HELP}. {hint}".rstrip())
        if name in pairs:
            raise UsageError(f"{name!r} is given twice. Keep one of them.")
        pairs[name] = text
    return pairs


def read_rows(path: Path, lists: Container[str] = ()) -> list[dict[str, Any]]:
    """The configurations in a file. ``lists``: options that take several words. Raises UsageError if there are none."""
    try:
        text = path.expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--from {path}: {error}.") from error
    kind = _TABLES.get(path.suffix.lower(), "lines")
    try:
        if kind in ("csv", "tsv"):
            table = csv.DictReader(text.splitlines(), dialect="excel-tab" if kind == "tsv" else "excel")
            rows = [{str(k): value(v or "") for k, v in row.items() if k} for row in table]
        elif kind == "json":
            rows = json.loads(text)
        elif kind == "jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            rows = rows_of_lines(lines, lists)
    except ValueError as error:
        raise UsageError(f"--from {path}: {error}.") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        raise UsageError(f"--from {path}: expected one configuration for each line or row, and found none.")
    return rows


def rows_of_lines(lines: Sequence[str], lists: Container[str] = ()) -> list[dict[str, Any]]:
    """Command lines, one for each trial, as configurations: options by name, other words as ``arg1``, ``arg2``, ...

    An option that is given several times, or one of ``lists`` (names with underscores), has a list.

    Raises UsageError if lines have different parameters, since a table could not show them.
    """
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"Line {number}, {line!r}: {error}.") from error
        row: dict[str, Any] = {}
        index, places = 0, 0
        while index < len(words):
            word = words[index]
            name, sign, text = word.partition("=")
            index += 1
            if not _is_value(word):
                name = name.lstrip("-")
                several = name.replace("-", "_") in lists
                values = [text] if sign else list(takewhile(_is_value, words[index:]))[: None if several else 1]
                index += 0 if sign else len(values)
                if several:
                    row[name] = [*row.get(name, ()), *map(value, values)]
                elif name in row:
                    raise UsageError(f"Line {number} gives {name!r} twice, and one value would be lost: {line!r}.")
                else:
                    row[name] = value(values[0]) if values else True
            elif sign and name.isidentifier():
                row[name] = value(text)
            else:
                places += 1
                row[f"arg{places}"] = value(word)
        rows.append(row)
    switches = {name for row in rows for name, setting in row.items() if setting is True}
    names = list(dict.fromkeys(name for row in rows for name in row))
    for number, row in enumerate(rows, 1):
        lacks = [name for name in names if name not in row and name not in switches]
        if lacks:
            raise UsageError(
                f"Line {number} has no {lacks[0]!r}, which other lines have. Give every line the same parameters."
            )
        row.update({name: False for name in switches if name not in row})
    return rows


def _is_value(word: str) -> bool:
    """Whether a word is no option: it begins without a dash, or is a number."""
    if not word.startswith("-"):
        return True
    try:
        float(word)
    except ValueError:
        return False
    return True
