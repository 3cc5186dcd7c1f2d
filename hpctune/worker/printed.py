"""Metrics in the lines that programs usually print: ``epoch 3: val_acc=0.91 loss 0.2``, ``val acc: 91.0%``, JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from hpctune.common.checks import is_number
from hpctune.model.rows import flatten, lookup

_NUMBER = (
    r"[-+]?(?:\d{1,3}(?:,\d{3})+(?![\d,])(?:\.\d+)?|\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b"
)
_WRAPPED = r"(?:(?:np|numpy|torch|tf|jnp)\.)?(?:tensor|array|float\d+|int\d+)\(\[?"
"""What stands before a number that is printed as a value of numpy, PyTorch, TensorFlow or JAX."""
_PAIR = re.compile(rf"(?<![\w.])([A-Za-z_][\w./@-]*)[\"']?\s*[=:]\s*(?:{_WRAPPED})?({_NUMBER})(?![\w.])", re.IGNORECASE)
_NOISE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|,\s*device='[^']*'")
"""Colours, and where PyTorch has a value."""
_BAR = re.compile(r":?\s*\d+%\|[^|]*\|(?:\s*[\d.]+\w?/[\d.]+\w?)?")
"""The bar of tqdm, without what stands before and after it."""
_FILE = re.compile(r"\.(?:py|cc|cpp|c|h|cu|jl|rs)$")
"""The end of what stands before a line number in a log: train.py:12."""
_PROGRESS = re.compile(r"(?<!\w)(epoch|step|iteration|iter)s?\s*[=:#]?\s*\[?(\d+)(?![\d.]*%)", re.IGNORECASE)
FORMS = "'NAME=0.9', 'NAME: 0.9', 'NAME 0.9', 'NAME is 0.9%', '{\"NAME\": 0.9}'"


def names_in(line: str) -> list[str]:
    """The names of the numbers in a line, such as ``loss`` of ``loss: 0.3`` or ``{"loss": 0.3}``."""
    line = _BAR.sub(" |", _NOISE.sub("", line))
    row = _json(line)
    if row is not None:
        return [name for name, value in flatten(row).items() if is_number(value)]
    return [name for name, _ in _pairs(line)]


def _pairs(line: str) -> list[tuple[str, str]]:
    """The names with their numbers, as text; without line numbers of files."""
    return [(name, text) for name, text in _PAIR.findall(line) if not _FILE.search(name)]


class PrintedMetric:
    """Reads lines that contain a metric. Other ``name=number`` pairs of the same line are reported as well.

    ``pattern``: a regular expression that finds the metric instead: with named groups, or with one group, which is the
    metric's value.

    A progress bar that is drawn again with the same values is one result.
    """

    _drawn: Mapping[str, Any] | None = None

    def __init__(self, metric: str, pattern: str | None = None) -> None:
        self.metric = metric
        self._own = None if pattern is None else re.compile(pattern)
        words = r"[\s_./-]{0,2}".join(re.escape(word) for word in re.split(r"[\s_./-]+", metric) if word)
        self._usual = re.compile(
            rf"(?<![A-Za-z0-9_])[\"']?{words}[\"']?\s*(?:\([^)]*\)\s*)?(?:=|:|->|\bis\b|\bof\b|[|│┃])?\s*"
            rf"(?:{_WRAPPED})?({_NUMBER})(?![\w.])\s*%?",
            re.IGNORECASE,
        )

    def __call__(self, line: str) -> Mapping[str, Any] | None:
        """The result in ``line``; None if it does not contain the metric."""
        line = _NOISE.sub("", line)
        if self._own is not None:
            return self._by_pattern(self._own, line)
        line, bars = _BAR.subn(" |", line)
        row = _json(line)
        if row is not None and lookup(row, self.metric) is not None:
            return row
        found = self._usual.findall(line)
        if not found:
            return None
        pairs = {name: _number(text) for name, text in _pairs(line)}
        progress = {word.lower().rstrip("s"): int(text) for word, text in _PROGRESS.findall(line)}
        value = _number(found[-1])  # after a progress bar, for example
        own = {self.metric.lower(), re.split(r"[\s_./-]", self.metric.lower())[-1]}
        others = {
            name: each
            for name, each in pairs.items()
            if name.lower() not in progress and not (name.lower() in own and each == value)
        }
        result = {**progress, **others, self.metric: value}
        if not bars:
            return result
        again, self._drawn = result == self._drawn, result
        return None if again else result

    def _by_pattern(self, pattern: re.Pattern[str], line: str) -> Mapping[str, Any] | None:
        found = pattern.search(line)
        if found is None:
            return None
        if pattern.groupindex:
            return {name: _number(text) for name, text in found.groupdict().items() if text is not None}
        return {self.metric: _number(found[1])}


def _number(text: str) -> Any:
    try:
        number = float(text.replace(",", ""))
    except ValueError:
        return text
    return int(number) if math.isfinite(number) and number.is_integer() and not re.search(r"[.eE]", text) else number


def _json(line: str) -> dict[str, Any] | None:
    begin = line.find("{")
    if begin < 0:
        return None
    try:
        row = json.loads(line[begin:])
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
