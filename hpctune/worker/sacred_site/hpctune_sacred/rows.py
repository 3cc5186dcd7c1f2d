"""Puts the values that an experiment logs one by one together: a result of the trial for each step.

A step is complete when a value of the next one comes, or when it has every name that the step before had.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from hpctune_hearing.reports import METRIC_VARIABLE, has_the_run, numbers, send

_lock = threading.Lock()
_row: dict[str, Any] = {}
"""What was logged since the last result."""
_begun: set[str] = set()
"""The names that the present step has."""
_usual: set[str] = set()
"""The names that the step before had."""
_step: Any = None
_last: Any = None
"""The metric's last value."""


def logged(name: str, value: Any, step: Any = None) -> None:
    """Take note of a value of one step."""
    found = numbers({name: value})
    if not found or not has_the_run():
        return
    global _step
    with _lock:
        if name in _begun or (_begun and step != _step):
            _complete()
        _step = step
        _begun.add(name)
        _row.update(found)
        if step is not None:
            _row["_step"] = step
        if _usual and _usual <= _begun:
            _complete()


def returned(result: Any) -> None:
    """Report what the experiment returns, with what was logged last: a number is called ``result``.

    If that has no metric, its last value is reported again, so that the other values are not lost.
    """
    if not has_the_run():
        return
    with _lock:
        found = numbers(result if hasattr(result, "items") else {"result": result})
        metric = os.environ.get(METRIC_VARIABLE)
        if found and metric and metric not in found and metric not in _row and _last is not None:
            _row[metric] = _last
        _row.update(found)
        _complete()


def _complete() -> None:
    """Report the step, if it has the metric; else its values belong to the next result."""
    global _last
    metric = os.environ.get(METRIC_VARIABLE)
    _usual.clear()
    _usual.update(_begun)
    _begun.clear()
    if not _row or (metric and metric not in _row):
        return
    _last = _row.get(metric) if metric else None
    send(dict(_row))
    _row.clear()
