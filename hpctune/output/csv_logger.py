"""``progress.csv``: a column for every key that any result of the trial had."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpctune.errors import StorageError
from hpctune.model.rows import flatten
from hpctune.output.appendfiles import AppendFiles
from hpctune.output.callback import LoggerCallback
from hpctune.storage import atomic, values
from hpctune.trial import Trial

PROGRESS_FILE = "progress.csv"


@dataclass(slots=True)
class _Table:
    """One file: its columns, in order, and rows that wait because it could not be made wider yet."""

    path: Path
    columns: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    waiting: list[dict[str, Any]] = field(default_factory=list)


class CSVLoggerCallback(LoggerCallback):
    """Writes every result as a row; nested keys are joined by ``/``, the configuration is left to ``params.json``.

    A key that turns up later makes the whole file wider: nothing is lost.
    """

    rebuilds = True

    def __init__(self) -> None:
        self._files = AppendFiles()
        self._tables: dict[str, _Table] = {}

    def log_trial_start(self, trial: Trial) -> None:
        table = self._tables[trial.trial_id] = _Table(trial.paths.root / PROGRESS_FILE)
        self._files.start(table.path)

    def log_trial_result(self, iteration: int, trial: Trial, result: Mapping[str, Any]) -> None:
        table = self._tables.get(trial.trial_id) or self._reopen(trial)
        table.waiting.append(flatten({k: v for k, v in result.items() if k != "config"}))
        self._drain(table)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        table = self._tables.pop(trial.trial_id, None)
        if table is not None:
            self._drain(table)
            self._files.release(table.path)

    def close(self) -> None:
        for table in self._tables.values():
            self._drain(table)
        self._files.close()

    def _drain(self, table: _Table) -> None:
        new = {key: None for row in table.waiting for key in row if key not in table.known}
        if new and not self._widen(table, [*table.columns, *new]):
            return
        if table.waiting:
            self._files.append(table.path, _lines([row.get(c) for c in table.columns] for row in table.waiting))
            table.waiting.clear()

    def _widen(self, table: _Table, columns: list[str]) -> bool:
        """Give ``table`` these columns; False when that is not possible at the moment."""
        if not table.columns:
            self._files.append(table.path, _lines([columns]))
        elif self._files.owes():
            return False
        else:
            self._files.release(table.path)
            try:
                old = _read(table.path)
                padding = [""] * (len(columns) - len(table.columns))
                atomic.write(table.path, _lines([columns, *([*row, *padding] for row in old[1:])]))
            except (OSError, StorageError):
                return False
        table.columns, table.known = columns, set(columns)
        return True

    def _reopen(self, trial: Trial) -> _Table:
        """The table of a trial that goes on after its end."""
        path = trial.paths.root / PROGRESS_FILE
        head = _read(path)[:1] if path.exists() else []
        table = self._tables[trial.trial_id] = _Table(path)
        if head:
            table.columns, table.known = head[0], set(head[0])
        return table


def _read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    """What stands for ``value``: nothing for None, JSON for lists."""
    if value is None:
        return ""
    return value if isinstance(value, (str, int, float)) else values.dumps(value)
