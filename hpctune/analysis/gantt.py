"""A picture of where the time of an experiment's jobs went: allocations against time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hpctune.analysis.timeline import Lane, Span, Use, seconds
from hpctune.common import packages
from hpctune.errors import UsageError

MAX_LANES = 60
"""With more allocations, those that did not overlap share a line, and waiting is shown by its number only."""
KINDS = (".png", ".svg", ".pdf")
_COLOURS = {Use.QUEUE: "#d9d9d9", Use.STARTUP: "#f0a030", Use.IDLE: "#d62728"}
_TRIALS = ("#2f6db3", "#6fa8dc")
"""Alternating colours, to tell consecutive trials apart."""


def draw(lanes: Sequence[Lane], title: str, file: Path) -> None:
    """Draw ``lanes`` into ``file``, a PNG, SVG or PDF by its name. Raises UsageError for others and if there is
    nothing to draw, MissingPackageError without matplotlib."""
    if file.suffix not in KINDS:
        raise UsageError(f"{file} is not a picture's name. Use one of these endings: {', '.join(KINDS)}.")
    figure(lanes, title).savefig(file, dpi=90)


def figure(lanes: Sequence[Lane], title: str) -> Any:
    """The picture as a figure of matplotlib, with the errors of :func:`draw`."""
    if not lanes:
        raise UsageError("No job of this experiment has begun yet; there is nothing to draw.")
    packages.load("matplotlib", "", "plots", "A picture")
    from hpctune.analysis.pictures.static import new_figure

    rows = [[lane] for lane in lanes] if len(lanes) <= MAX_LANES else packed(lanes)
    zero = min(span.begin for lane in lanes for span in lane.spans)
    drawn = new_figure(10, min(14.0, 2.6 + 0.22 * len(rows)))
    bars, waits = drawn.subplots(2, 1, sharex=True, height_ratios=[max(2.0, 0.25 * len(rows)), 1.0])
    _bars(bars, rows, zero, with_queue=len(lanes) <= MAX_LANES)
    _waits(waits, lanes, zero)
    drawn.suptitle(f"{title}\n{shares(lanes)}", fontsize=10)
    return drawn


def shares(lanes: Sequence[Lane]) -> str:
    """Such as "8 allocations, 512 s held: 92.1% trials, 5.0% start-up, 2.9% idle"."""
    spent, count = seconds(lanes), f"{len(lanes)} allocation{'s' * (len(lanes) != 1)}"
    held = sum(spent[use] for use in (Use.TRIAL, Use.STARTUP, Use.IDLE))
    if not held:
        return count
    parts = [f"{spent[use] / held:.1%} {word}" for use, word in _WORDS.items()]
    return f"{count}, {held:.0f} s held: {', '.join(parts)}"


_WORDS = {Use.TRIAL: "trials", Use.STARTUP: "start-up", Use.IDLE: "idle"}


def packed(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """Lines of lanes whose allocations do not overlap, as few as can be."""
    held = sorted((*span, i) for i, lane in enumerate(lanes) if (span := lane.held) is not None)
    rows: list[list[Lane]] = []
    free: list[float] = []
    for begin, end, i in held:
        row = next((i for i, at in enumerate(free) if at <= begin), None)
        if row is None:
            row = len(rows)
            rows.append([])
            free.append(end)
        rows[row].append(lanes[i])
        free[row] = end
    return rows


def _bars(axes: Any, rows: Sequence[Sequence[Lane]], zero: float, with_queue: bool) -> None:
    from matplotlib.patches import Patch

    for y, row in enumerate(rows):
        spans = sorted((span for lane in row for span in lane.spans), key=lambda span: span.begin)
        for use, colour in _COLOURS.items():
            if use is not Use.QUEUE or with_queue:
                _line(axes, y, (s for s in spans if s.use is use), zero, colour)
        trials = [span for span in spans if span.use is Use.TRIAL]
        for turn, colour in enumerate(_TRIALS):
            _line(axes, y, trials[turn::2], zero, colour)
    few = len(rows) <= 30 and all(len(row) == 1 for row in rows)
    axes.set_yticks(range(len(rows)) if few else [], [row[0].name for row in rows] if few else [], fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_ylabel("allocations")
    shown = [(use.value, colour) for use, colour in _COLOURS.items() if use is not Use.QUEUE or with_queue]
    keys = [Patch(color=_TRIALS[0], label="trial (by turns)"), *(Patch(color=c, label=w) for w, c in shown)]
    axes.legend(handles=keys, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(keys), fontsize=7, frameon=False)


def _line(axes: Any, y: int, spans: Iterable[Span], zero: float, colour: str) -> None:
    ranges = [(span.begin - zero, span.end - span.begin) for span in spans]
    axes.broken_barh(ranges, (y - 0.4, 0.8), facecolors=colour, linewidth=0)


def _waits(axes: Any, lanes: Sequence[Lane], zero: float) -> None:
    """How many jobs waited at any time."""
    waits = [span for lane in lanes for span in lane.spans if span.use is Use.QUEUE]
    changes = sorted([(s.begin - zero, 1) for s in waits] + [(s.end - zero, -1) for s in waits])
    times, counts, waiting = [0.0], [0], 0
    for at, change in changes:
        waiting += change
        times.append(at)
        counts.append(waiting)
    axes.fill_between(times, counts, step="post", color=_COLOURS[Use.QUEUE])
    axes.set_ylabel("jobs waiting")
    axes.set_xlabel("seconds since the first submission")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
