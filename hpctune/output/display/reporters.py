"""Progress reporters with Ray Tune's interface."""

from __future__ import annotations

import html
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar

from hpctune.common.checks import check_mode
from hpctune.errors import UsageError
from hpctune.output.display import status as table
from hpctune.output.display.columns import DEFAULT_METRICS, ColumnChoice, Options
from hpctune.output.display.layout import Status, Table, as_text
from hpctune.output.display.stream import columns_of
from hpctune.trial import Trial


class ProgressReporter:
    """Derive from it to show progress your own way."""

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Before the first report."""

    def should_report(self, trials: Sequence[Trial], done: bool = False) -> bool:
        """Whether to report now; asked at every turn of the driver, so keep it quick. Default: always."""
        return True

    def report(self, trials: Sequence[Trial], done: bool, *sys_info: str) -> None:
        """Show ``trials``. ``sys_info``: lines about the cluster and where results are."""
        raise NotImplementedError(f"{type(self).__name__} must define report(trials, done, *sys_info).")


class TuneReporterBase(ProgressReporter):
    """A reporter that shows the status block.

    Args:
        metric_columns: Metrics to show, or metrics with headings. None: the usual ones and up to ``infer_limit`` more.
        parameter_columns: Parameters to show, likewise. None: those that vary.
        total_samples: How many trials there will be, if that is known better here.
        max_progress_rows, max_error_rows: Rows of the two tables.
        max_column_length: Characters of a cell.
        max_report_frequency: Seconds between two reports.
        infer_limit: Metrics shown without being asked for.
        print_intermediate_tables: Whether tables are shown before the end. None: from verbosity 2 on.
        metric, mode: Which trial is best; None: the experiment's.
        sort_by_metric: Best trials first.
    """

    DEFAULT_COLUMNS: ClassVar[Mapping[str, str]] = MappingProxyType(DEFAULT_METRICS)
    """The usual metrics with their headings."""

    def __init__(
        self,
        *,
        metric_columns: ColumnChoice = None,
        parameter_columns: ColumnChoice = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: int = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        if mode is not None:
            check_mode(mode)
        self._metric_columns, self._parameter_columns = _own(metric_columns), _own(parameter_columns)
        self._total_samples = total_samples
        self._max_progress_rows, self._max_error_rows = max_progress_rows, max_error_rows
        self._max_column_length, self._infer_limit = max_column_length, infer_limit
        self._max_report_freq = max_report_frequency
        self._print_intermediate_tables = print_intermediate_tables
        self._metric, self._mode, self._sort_by_metric = metric, mode, sort_by_metric
        self._start_time: float | None = None
        self._last_report_time = float("-inf")
        self.clock: Callable[[], float] = time.time
        self.verbose = 2
        self.expected: int | None = None
        """How many trials there will be, if the driver knows."""

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Set what the constructor did not get."""
        self._start_time = start_time if start_time is not None else self.clock()
        self._total_samples = self._total_samples or total_samples
        self._metric, self._mode = self._metric or metric, self._mode or mode

    def should_report(self, trials: Sequence[Trial], done: bool = False) -> bool:
        """Every ``max_report_frequency`` seconds, and at the end."""
        now = self.clock()
        if not done and now - self._last_report_time < self._max_report_freq:
            return False
        self._last_report_time = now
        return True

    def add_metric_column(self, metric: str, representation: str | None = None) -> None:
        """Show one more metric, under the heading ``representation``."""
        self._metric_columns = _extended("Metric", self._metric_columns or DEFAULT_METRICS, metric, representation)

    def add_parameter_column(self, parameter: str, representation: str | None = None) -> None:
        """Show one more parameter, under the heading ``representation``."""
        self._parameter_columns = _extended("Parameter", self._parameter_columns, parameter, representation)

    def options(self) -> Options:
        """The arguments, for the table."""
        return Options(
            metric=self._metric,
            mode=self._mode or ("max" if self._metric else None),
            metric_columns=self._metric_columns,
            parameter_columns=self._parameter_columns,
            max_rows=self._max_progress_rows,
            max_error_rows=self._max_error_rows,
            max_column_length=self._max_column_length,
            infer_limit=self._infer_limit,
            sort_by_metric=self._sort_by_metric,
            total_samples=self._total_samples,
        )

    def status(self, trials: Sequence[Trial], done: bool, *sys_info: str) -> Status:
        """The block as a value."""
        values = [trial.value for trial in trials]
        now = self.clock()
        around = table.StatusContext(
            now,
            trials[0].experiment_dir_name if trials else "",
            elapsed_s=None if self._start_time is None else now - self._start_time,
            more_to_come=not done,
            expected=self.expected,
            extra=tuple(line for text in sys_info for line in text.splitlines()),
        )
        tables = self.verbose >= 2 if self._print_intermediate_tables is None else self._print_intermediate_tables
        return table.status(values, Counter(v.phase for v in values), around, self.options(), table=done or tables)

    def _progress_str(self, trials: Sequence[Trial], done: bool, *sys_info: str) -> str:
        return as_text(self.status(trials, done, *sys_info), columns_of(sys.stdout))


class CLIReporter(TuneReporterBase):
    """Prints the status block."""

    def report(self, trials: Sequence[Trial], done: bool, *sys_info: str) -> None:
        print(self._progress_str(trials, done, *sys_info), flush=True)


class JupyterNotebookReporter(TuneReporterBase):
    """Shows the status block in a notebook, in place of the one before (``overwrite``)."""

    def __init__(self, *, overwrite: bool = True, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._overwrite = overwrite
        self._displayed: Any = None

    def report(self, trials: Sequence[Trial], done: bool, *sys_info: str) -> None:
        status = self.status(trials, done, *sys_info)
        if _in_notebook():
            self.display(as_html(status))
        else:
            print(as_text(status, columns_of(sys.stdout)), flush=True)

    def display(self, text: str) -> None:
        """Show ``text`` (HTML) in the notebook."""
        ipython: Any = import_module("IPython.display")
        if self._overwrite and self._displayed is not None:
            self._displayed.update(ipython.HTML(text))
        else:
            self._displayed = ipython.display(ipython.HTML(text), display_id=True)


def _in_notebook() -> bool:
    """Whether a kernel runs this code. A library may have imported IPython without one."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def as_html(status: Status) -> str:
    """A status block for a notebook."""
    parts = [f"<h4>{html.escape(status.title)}</h4>"]
    parts += [f"<div><b>{html.escape(head)}</b> {html.escape(text)}</div>" for head, text in status.lines]
    for part, more in ((status.trials, status.more), (status.errors, status.more_errors)):
        if part is not None:
            parts.append(_html_table(part))
        if more:
            parts.append(f"<div>{html.escape(more)}</div>")
    return "\n".join(parts)


def _html_table(part: Table) -> str:
    head = "".join(f"<th>{html.escape(c.heading)}</th>" for c in part.columns)
    rows = ("".join(f"<td>{html.escape(text)}</td>" for text in row) for row in part.rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _own(choice: ColumnChoice) -> ColumnChoice:
    """A copy: columns that are added later must not end up in the user's list."""
    if choice is None:
        return None
    return dict(choice) if isinstance(choice, Mapping) else list(choice)


def _extended(what: str, choice: ColumnChoice, key: str, heading: str | None) -> ColumnChoice:
    if choice is not None and key in choice:
        raise UsageError(f"{what} column {key!r} is there already.")
    if choice is None or isinstance(choice, Mapping):
        return {**(choice or {}), key: heading or key}
    if heading not in (None, key):
        raise UsageError(f"{what} columns were given as a list, without headings. Give a dict to have headings.")
    return [*choice, key]
