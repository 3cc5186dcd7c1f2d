"""The time of allocations for the page: as lines to draw, and as hours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpctune.analysis.gantt import packed
from hpctune.analysis.pictures.trials import PlotData, State
from hpctune.analysis.timeline import Lane, Use
from hpctune.model.resources import Resources

MAX_ROWS = 60
_USES = list(Use)


def lanes_of(lanes: Sequence[Lane], data: PlotData) -> dict[str, Any]:
    """The lines of the timeline: use, begin, end (seconds since the first) and trial of each stretch. Of many
    allocations, those that did not overlap share a line, and their waiting is left out."""
    number = {t.label: n for n, t in enumerate(data.trials)}
    many = len(lanes) > MAX_ROWS
    rows = packed(lanes) if many else [[lane] for lane in lanes]
    zero = min((span.begin for lane in lanes for span in lane.spans), default=0.0)
    return {
        "uses": [use.value for use in Use],
        "allocations": len(lanes),
        "rows": [
            {
                "name": row[0].name if len(row) == 1 else "",
                "spans": [
                    [_USES.index(s.use), round(s.begin - zero, 1), round(s.end - zero, 1), number.get(s.trial, -1)]
                    for lane in row
                    for s in lane.spans
                    if not (many and s.use is Use.QUEUE)
                ],
            }
            for row in rows
        ],
    }


def cost(lanes: Sequence[Lane], data: PlotData) -> list[list[Any]]:
    """Rows of what the time of allocations was used for: words, trials, hours, CPU hours, GPU hours.

    From our own records. Start-up and idle time of an allocation count with the resources of its first trial.
    """
    trials = {t.label: t for t in data.trials}
    rows: dict[str, list[float]] = {f"trials, {state.value}": [0.0, 0.0, 0.0] for state in State}
    rows |= {"start-up": [0.0, 0.0, 0.0], "idle": [0.0, 0.0, 0.0]}
    seen: dict[str, set[str]] = {}
    for lane in lanes:
        first = next((trials[s.trial] for s in lane.spans if s.trial in trials), None)
        for span in lane.spans:
            of = trials.get(span.trial, first)
            if span.use is Use.QUEUE or of is None:
                continue
            name = f"trials, {of.state.value}" if span.use is Use.TRIAL else span.use.value
            cpus, gpus = _of(of.value.resources)
            hours = (span.end - span.begin) / 3600
            seen.setdefault(name, set()).add(of.label)
            for n, amount in enumerate((1.0, cpus, gpus)):
                rows[name][n] += hours * amount
    return [[name, len(seen[name]), *(round(h, 4) for h in rows[name])] for name in rows if name in seen]


def _of(resources: Resources) -> tuple[float, float]:
    return sum(b.cpus for b in resources.bundles), sum(b.gpus for b in resources.bundles)
