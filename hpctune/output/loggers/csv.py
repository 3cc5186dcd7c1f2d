"""``progress.csv``: one column for each key in any result of the trial."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from hpctune.errors import StorageError
from hpctune.model.rows import NOT_SHOWN, Shape, flatten, shape_of
from hpctune.output.callback import LoggerCallback
from hpctune.output.loggers.append_files import AppendFiles
from hpctune.output.loggers.row_shapes import ShapeCache
from hpctune.storage import atomic, permissions, values
from hpctune.trial import Trial

PROGRESS_FILE = "progress.csv"
_CELLS = frozenset({float, int, str, bool, type(None)})
"""Types whose values are cells as they are."""
_Cells = Callable[[Mapping[str, Any]], Sequence[Any]]


@dataclass(slots=True)
class _Table:
    """One file: its columns in order, lines to write, and rows that first need more columns."""

    path: str
    columns: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    lines: list[Sequence[Any]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    quick: ShapeCache[_Cells] = field(default_factory=ShapeCache)
    """Converts rows with exactly these columns, and without nested values, into lines."""


class CSVLoggerCallback(LoggerCallback):
    """Writes every result as a row; nested keys are joined by ``/``, the configuration is left to ``params.json``.

    A key that turns up later makes the whole file wider: nothing is lost.
    """

    rebuilds = True

    def __init__(self) -> None:
        self._files = AppendFiles()
        self._tables: dict[str, _Table] = {}
        self._grown: dict[str, _Table] = {}
        """Those that have lines to be written."""

    def log_trial_start(self, trial: Trial) -> None:
        table = self._tables[trial.trial_id] = _Table(trial.paths.at(PROGRESS_FILE))
        self._files.start(table.path)

    def log_trial_result(self, iteration: int, trial: Trial, result: Mapping[str, Any]) -> None:
        table = self._tables.get(trial.trial_id) or self._reopen(trial)
        self._grown[table.path] = table
        shape = shape_of(result)
        quick = table.quick.get(shape)
        if quick is not None and not table.waiting:
            table.lines.append(quick(result))
            return
        table.waiting.append(flatten({k: v for k, v in result.items() if k not in NOT_SHOWN}))
        self._drain(table)
        if not table.waiting and _fits(shape, table.columns):
            table.quick.note(shape, itemgetter(*table.columns))

    def flush(self) -> None:
        for table in list(self._grown.values()):
            self._write(table)
        self._files.flush()

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        table = self._tables.pop(trial.trial_id, None)
        if table is not None:
            self._drain(table)
            self._write(table)
            self._files.release(table.path)

    def close(self) -> None:
        for table in self._tables.values():
            self._drain(table)
            self._write(table)
        self._files.close()

    def _write(self, table: _Table) -> None:
        self._grown.pop(table.path, None)
        if table.lines:
            self._files.append(table.path, _text(table.lines))
            table.lines.clear()

    def _drain(self, table: _Table) -> None:
        new = {key: None for row in table.waiting for key in row if key not in table.known}
        if new and not self._widen(table, [*table.columns, *new]):
            return
        table.lines += ([_cell(row.get(column)) for column in table.columns] for row in table.waiting)
        table.waiting.clear()

    def _widen(self, table: _Table, columns: list[str]) -> bool:
        """Give ``table`` these columns; False when that is not possible at the moment."""
        if not table.columns:
            table.lines.append(columns)
        else:
            self._write(table)
            if not self._files.release(table.path):
                return False
            try:
                old = _read(table.path)
                padding = [""] * (len(columns) - len(table.columns))
                atomic.write(table.path, _text([columns, *([*row, *padding] for row in old[1:])]))
            except (OSError, StorageError):
                return False
        table.columns, table.known = columns, set(columns)
        table.quick.clear()
        return True

    def _reopen(self, trial: Trial) -> _Table:
        """The table of a trial that continues after its end."""
        path = trial.paths.at(PROGRESS_FILE)
        head = _read(path)[:1] if permissions.exists(path) else []
        table = self._tables[trial.trial_id] = _Table(path)
        if head:
            table.columns, table.known = head[0], set(head[0])
        return table


def _read(path: str) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _fits(shape: Shape, columns: Sequence[str]) -> bool:
    """Whether the values of such rows, the configuration apart, are the cells of these columns (two or more)."""
    kinds = {key: kind for key, kind in zip(*shape, strict=True) if key not in NOT_SHOWN}
    return list(kinds) == list(columns) and len(kinds) > 1 and _CELLS.issuperset(kinds.values())


def _text(lines: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    """What stands for ``value``: nothing for None, JSON for lists."""
    if value is None:
        return ""
    return value if isinstance(value, (str, int, float)) else values.dumps(value)
