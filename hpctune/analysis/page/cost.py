"""The time of allocations for the page: as lines to draw, and as the cost ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hpctune.analysis.cost.groups import total
from hpctune.analysis.cost.ledger import Ledger
from hpctune.analysis.cost.tables import cost_table, value_lines
from hpctune.analysis.gantt import packed
from hpctune.analysis.pictures.trials import PlotData
from hpctune.analysis.timeline import Lane, Use
from hpctune.common.text import clean

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


TABLES = ("cause", "partition", "account", "user", "week")
"""The tables of the page. Those of one line say nothing that the first does not, and are left out."""


def cost(ledger: Ledger) -> dict[str, Any]:
    """The ledger for the page: where it is from, the hours of allocations, tables, and sentences about its worth."""
    tables = []
    for by in TABLES if ledger.rows else ():
        header, rows = cost_table(ledger, by)
        if by == TABLES[0] or len(rows) > 2:
            tables.append({"by": by, "header": header, "rows": [[clean(cell) for cell in row] for row in rows]})
    return {
        "source": clean("; ".join(ledger.sources.values())),
        "hours": round(total(ledger).node_hours_held, 4),
        "tables": tables,
        "notes": [line for value in ledger.values.values() for line in value_lines(value)],
    }
