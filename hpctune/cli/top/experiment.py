"""The screen of one experiment: how it stands, its trials, one trial in detail, and what can be changed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.coordinate import Coordinate
from textual.events import Resize
from textual.widgets import DataTable, Footer, Input, ProgressBar, Static

from hpctune.analysis.followed import FollowedExperiment
from hpctune.cli.snapshot import Snapshot
from hpctune.cli.top import read
from hpctune.cli.top.dialogs import Question, TextScreen
from hpctune.cli.top.read import TrialDetails, TrialTable
from hpctune.cli.top.watching import Settings, Watching, fill
from hpctune.common.text import clean
from hpctune.common.text_plot import curve
from hpctune.errors import TuneError
from hpctune.model.trial import Phase
from hpctune.output.display.layout import AMBER, GREEN, RED, TEAL
from hpctune.storage.layout import ExperimentPaths

WIDE = 120
"""From this many columns on, all panels of a trial stand side by side."""
PANELS = ("curve", "config", "output", "error")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[^0-9;?m]|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")
"""Escape sequences that are no colours, and characters that are no text."""
_STYLES = {Phase.RUNNING: GREEN, Phase.QUEUED: AMBER, Phase.PAUSED: TEAL, Phase.ERROR: RED, Phase.TERMINATED: ""}


class ExperimentScreen(Watching):
    """One experiment: how it stands, its trials, and one trial in detail."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back"),
        Binding("slash", "filter", "filter"),
        Binding("s", "sort", "sort"),
        Binding("tab", "panel", "panel", priority=True),
        Binding("j", "jobs", "jobs"),
        Binding("x", "stop_trial", "stop"),
        Binding("X", "stop", "all"),
        Binding("a", "add", "add"),
        Binding("r", "resume", "resume"),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(self, paths: ExperimentPaths, settings: Settings) -> None:
        super().__init__(settings)
        self.paths, self._followed = paths, FollowedExperiment(paths.root)
        self.shot: Snapshot | None = None
        self.table: TrialTable | None = None
        self.sort, self.descending, self.filter, self.panel = "", False, "", 0
        self.details: TrialDetails | None = None
        self._cursor: str | None = None
        """The trial under the cursor: looks are made in another thread, which must not ask the widgets."""

    def compose(self) -> ComposeResult:
        """The head, the trials, and the panels of one of them."""
        yield Static(id="head")
        yield ProgressBar(show_eta=False)
        yield Input(id="filter", placeholder='loss < 0.3 and status == "RUNNING"; empty: all trials')
        yield DataTable(id="trials", cursor_type="row", zebra_stripes=True)
        with Horizontal(id="panels"):
            for name in PANELS:
                with VerticalScroll(id=name, classes="panel", can_focus=True) as panel:
                    panel.border_title = name
                    yield Static(id=f"{name}-text", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Give the table the focus."""
        self._show_panel()
        self.query_one(DataTable).focus()
        super().on_mount()

    def on_resize(self, event: Resize) -> None:
        """All panels side by side, or one, as there is room."""
        self.query_one("#panels").set_class(event.size.width < WIDE, "narrow")
        self.call_after_refresh(self._show_details)

    # -- looking ---------------------------------------------------------------------------------------------------

    def read(self) -> Callable[[], None]:
        """Read the experiment, and the trial under the cursor."""
        shot = read.take(self._followed)
        table = read.trial_table(shot)
        trial = shot.state.trials.get(self._cursor or next(iter(shot.state.trials), ""))
        found = read.details(shot, trial) if trial is not None else None
        return lambda: self._show(shot, table, found)

    def _show(self, shot: Snapshot, table: TrialTable, found: TrialDetails | None) -> None:
        if self.table is None or self.table.columns != table.columns:
            widget = self.query_one(DataTable)
            widget.clear(columns=True)
            for name in table.columns:
                widget.add_column(Text(name), key=name)
        self.shot, self.table = shot, table
        self.query_one("#head", Static).update(Text("\n".join(read.head(shot, self.app.size.width - 2))))
        done, all_ = read.progress(shot)
        self.query_one(ProgressBar).update(total=all_, progress=done)
        self._fill()
        if found is not None and found.trial_id == (self._chosen() or found.trial_id):
            self.details = found
            self._show_details()

    def _fill(self) -> None:
        if self.table is None or self.shot is None:
            return
        try:
            chosen = self.table.chosen(self.filter, self.sort, self.descending)
        except TuneError as error:
            self.notify(str(error), severity="error", markup=False)
            self.filter = ""
            chosen = self.table.chosen("", self.sort, self.descending)
        trials = self.shot.state.trials
        fill(self.query_one(DataTable), {n: self._line(n, trials[n].phase) for n in chosen})
        shown = f"{self.sort} {'descending' if self.descending else 'ascending'}" if self.sort else ""
        kept = f"{len(chosen)} of {len(trials)}: {self.filter}" if self.filter else ""
        self.query_one(DataTable).border_title = ", ".join(filter(None, (shown, kept)))

    def _line(self, trial_id: str, phase: Phase) -> list[str | Text]:
        assert self.table is not None
        identity, state, *rest = (clean(cell) for cell in self.table.cells(trial_id))
        return [identity, Text(state, style=_STYLES.get(phase, "")), *rest]

    def _chosen(self) -> str | None:
        table = self.query_one(DataTable)
        if not table.row_count or not 0 <= table.cursor_row < table.row_count:
            return None
        return str(table.coordinate_to_cell_key(Coordinate(table.cursor_row, 0)).row_key.value)

    @on(DataTable.RowHighlighted)
    def moved(self) -> None:
        """Another trial is under the cursor: read it soon."""
        self._cursor = chosen = self._chosen()
        if self.shot is not None and chosen is not None and (self.details is None or self.details.trial_id != chosen):
            self.read_details(chosen)

    @work(thread=True, exclusive=True, group="details")
    def read_details(self, trial_id: str) -> None:
        """Read one trial and show it."""
        assert self.shot is not None
        found = read.details(self.shot, self.shot.state.trials[trial_id])
        self.app.call_from_thread(self._shown, partial(self._take_details, found))

    def _take_details(self, found: TrialDetails) -> None:
        if found.trial_id == self._chosen():
            self.details = found
            self._show_details()

    def _show_details(self) -> None:
        found = self.details
        if found is None or self.shot is None:
            return
        panel = self.query_one("#curve")
        lines = curve(found.points, panel.content_size.width - 1, panel.content_size.height)
        texts = {"curve": "\n".join(lines) or "(no values of the metric)", "config": found.config}
        texts |= {"output": found.output, "error": found.error}
        for name, text in texts.items():
            self.query_one(f"#{name}-text", Static).update(Text.from_ansi(printable(text)))
            place = self.query_one(f"#{name}")
            title = "reason" if name == "error" and not found.failed else name
            place.border_title = f"{title} of {found.trial_id}"

    def _show_panel(self) -> None:
        for number_, name in enumerate(PANELS):
            self.query_one(f"#{name}").set_class(number_ == self.panel, "shown")

    # -- keys ------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """With --read-only nothing can be changed."""
        return not (self.settings.read_only and action in ("stop", "stop_trial", "add", "resume"))

    def action_back(self) -> None:
        """Close the filter, or go back to the list."""
        box = self.query_one("#filter", Input)
        if box.has_class("open"):
            box.remove_class("open")
            self.query_one(DataTable).focus()
        else:
            self.app.pop_screen()

    def action_filter(self) -> None:
        """Ask for a filter."""
        box = self.query_one("#filter", Input)
        box.add_class("open")
        box.value = self.filter
        box.focus()

    @on(Input.Submitted, "#filter")
    def filtered(self, event: Input.Submitted) -> None:
        """Show the trials that the filter lets through."""
        self.filter = event.value
        self.query_one("#filter").remove_class("open")
        self.query_one(DataTable).focus()
        self._fill()

    def action_sort(self) -> None:
        """Sort by the next column."""
        if self.table is not None:
            names = ["", *self.table.columns]
            self._sort_by(names[(names.index(self.sort) + 1) % len(names)] if self.sort in names else "")

    @on(DataTable.HeaderSelected)
    def sorted_by(self, event: DataTable.HeaderSelected) -> None:
        """Sort by the column whose name was clicked, the other way the second time."""
        name = str(event.column_key.value)
        if name == self.sort:
            self.descending = not self.descending
            self._fill()
        else:
            self._sort_by(name)

    def _sort_by(self, name: str) -> None:
        spec = self.shot.state.spec if self.shot is not None else None
        self.sort = name
        self.descending = spec is not None and name == spec.metric and spec.mode == "max"
        self._fill()

    def action_panel(self) -> None:
        """Show the next panel, or give it the focus."""
        self.panel = (self.panel + 1) % len(PANELS)
        self._show_panel()
        self._show_details()

    def action_jobs(self) -> None:
        """Jobs, and why they wait."""
        if self.shot is not None:
            self.app.push_screen(TextScreen(read.status_text(self.shot, self.app.size.width - 2)))

    # -- changes ---------------------------------------------------------------------------------------------------

    def _call(self, *words: str, here: bool = False) -> None:
        """Call a command of hpctune. ``here``: on this terminal, until it ends; else what it says is shown."""
        call = [sys.executable, "-m", "hpctune", *words]
        if here:
            with self.app.suspend():
                subprocess.run(call, check=False)
            self.look()
        else:
            self._call_aside(call)

    @work(thread=True, group="commands")
    def _call_aside(self, call: list[str]) -> None:
        """Call a command in a thread, so that keys go on, and show what it says."""
        done = subprocess.run(call, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        severity: Literal["error", "information"] = "error" if done.returncode else "information"
        said = (done.stdout + done.stderr).strip()
        self.notify(said or "done", severity=severity, timeout=10, markup=False)
        self.app.call_from_thread(self.look)

    def action_stop_trial(self) -> None:
        """Stop the trial under the cursor, after a question."""
        chosen = self._chosen()
        if chosen is not None and self.shot is not None and self.shot.state.trials[chosen].phase.final:
            self.notify(f"{chosen} is over: there is nothing to stop.", markup=False)
        elif chosen is not None:
            root = str(self.paths.root)
            ways = {"Stop": lambda _: self._call("stop", "--dir", root, chosen)}
            self.app.push_screen(Question(f"Stop trial {chosen}?", ways))

    def action_stop(self) -> None:
        """Stop the experiment, after a question."""
        words = f"Stop all trials of {self.paths.root.name}, and start no more?"
        self.app.push_screen(Question(words, {"Stop": lambda _: self._call("stop", str(self.paths.root))}))

    def action_add(self) -> None:
        """Ask for a configuration, and add it."""
        ways: dict[str, Callable[[str], None]] = {"Add": self._add}
        words = "Try one more configuration. What is not given is sampled."
        self.app.push_screen(Question(words, ways, "lr=0.1 batch=64"))

    def _add(self, text: str) -> None:
        try:
            words = shlex.split(text)
        except ValueError as error:  # a quotation mark that is not closed
            self.notify(f"This cannot be read: {text} ({error})", severity="error", timeout=10, markup=False)
            return
        self._call("add", str(self.paths.root), *words)

    def action_resume(self) -> None:
        """Drive the experiment, after a question."""
        root = str(self.paths.root)
        ways: dict[str, Callable[[str], None]] = {"Here": lambda _: self._call("resume", root, here=True)}
        words = "Resume the experiment? Here: a driver on this terminal; Ctrl-C ends it, jobs go on."
        if self.shot is not None and self.shot.state.spec.cluster == "slurm":
            ways["As a job"] = lambda _: self._call("resume", root, "--sbatch")
            words += " As a job: the driver is a Slurm job."
        self.app.push_screen(Question(words, ways))


def printable(text: str) -> str:
    """``text`` without what could move the cursor; colours stay."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(_CONTROL.sub("", line.rpartition("\r")[2]) for line in lines).expandtabs(4)
