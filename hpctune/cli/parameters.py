"""Parameters on a command line, ``lr=0.1``, and tables of them in files."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Sequence
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


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The configurations in a file. Raises UsageError if there are none."""
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
            rows = rows_of_lines(lines)
    except ValueError as error:
        raise UsageError(f"--from {path}: {error}.") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        raise UsageError(f"--from {path}: expected one configuration for each line or row, and found none.")
    return rows


def rows_of_lines(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Command lines, one for each trial, as configurations: options by name, other words as ``arg1``, ``arg2``, ...

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
            if word.startswith("-") and not _is_number(word):
                follows = index + 1 < len(words) and (
                    not words[index + 1].startswith("-") or _is_number(words[index + 1])
                )
                row[name.lstrip("-")] = value(text) if sign else value(words[index + 1]) if follows else True
                index += 1 + (not sign and follows)
                continue
            if sign and name.isidentifier():
                row[name] = value(text)
            else:
                places += 1
                row[f"arg{places}"] = value(word)
            index += 1
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


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
