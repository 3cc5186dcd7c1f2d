"""A status block as a value, and its rendering as plain text and on a rich console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpctune.common.text import shorten_middle

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table as RichTable

GREEN, AMBER, TEAL, RED = "color(28)", "color(130)", "color(30)", "color(160)"
"""Colours of the 256 of a terminal that can be read on black and on white."""
_STYLES = {"running": GREEN, "queued": AMBER, "submitting": AMBER, "paused": TEAL, "error": RED}
LEAST = 30
"""Characters to which a column that shrinks may be cut."""
_GAP = 2
"""Between two columns on a rich console."""


@dataclass(frozen=True, slots=True)
class Column:
    """``right``: align right. ``rank``: if space is short, columns of a high rank are dropped; rank 0 always stays.
    ``shrinks``: before that, its texts are cut in the middle, down to LEAST characters."""

    heading: str
    right: bool = False
    rank: int = 0
    shrinks: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def widths(self) -> list[int]:
        """What each column needs."""
        return [max([len(c.heading), *(len(row[n]) for row in self.rows)]) for n, c in enumerate(self.columns)]

    def only(self, kept: Sequence[int]) -> Table:
        """The table with these columns."""
        rows = tuple(tuple(row[n] for n in kept) for row in self.rows)
        return Table(tuple(self.columns[n] for n in kept), rows)

    def without_empty(self) -> Table:
        """The table without columns in which nothing stands."""
        return self.only([n for n in range(len(self.columns)) if any(row[n].strip() for row in self.rows)])

    def fitting(self, width: int, gap: int = _GAP) -> Table:
        """The table without the columns that do not fit into ``width``; the least important are dropped first. ``gap``:
        what is between two columns."""
        needs = [min(w, LEAST) if c.shrinks else w for w, c in zip(self.widths(), self.columns, strict=True)]
        kept, room = list[int](), width
        for n in sorted(range(len(self.columns)), key=lambda n: (self.columns[n].rank, n)):
            if self.columns[n].rank == 0 or needs[n] + gap <= room:
                kept.append(n)
                room -= needs[n] + gap
        return self.only(sorted(kept))._shrunk(LEAST + room)

    def _shrunk(self, width: int) -> Table:
        """The table with the texts of the column that shrinks cut to ``width``."""
        rows = (
            tuple(shorten_middle(t, width) if c.shrinks else t for t, c in zip(row, self.columns, strict=True))
            for row in self.rows
        )
        return Table(self.columns, tuple(rows))

    def without(self, other: Table) -> str:
        """The headings of ``other`` that this table lacks, in words for the reader; "" if there are none."""
        left_out = [column.heading.strip() for column in other.columns if column not in self.columns]
        return f"(no room for: {', '.join(left_out)})" if left_out else ""


@dataclass(frozen=True, slots=True)
class Status:
    """The block: lines of (heading, text), the trial table, what it leaves out, the error table."""

    title: str
    lines: tuple[tuple[str, str], ...]
    trials: Table | None = None
    more: str = ""
    errors: Table | None = None
    more_errors: str = ""


def as_text(status: Status, columns: int | None = None) -> str:
    """The block as plain text, every line ended. ``columns``: the width that there is; None: any."""
    width = max(len(heading) for heading, _ in status.lines) + 1
    parts = [f"== {status.title} =="]
    parts += [f"{heading + ':' if heading else '':<{width}} {text}".rstrip() for heading, text in status.lines]
    for table, more in ((status.trials, status.more), (status.errors, status.more_errors)):
        if table is not None:
            shown = table if columns is None else table.fitting(columns - 1, gap=3)
            parts += filter(None, (table_text(shown), shown.without(table)))
        if more:
            parts.append(more)
    return "\n".join(parts) + "\n"


def table_text(table: Table) -> str:
    """A table with rules of ASCII characters."""
    widths = table.widths()

    def line(cells: Sequence[str]) -> str:
        places = zip(cells, widths, table.columns, strict=True)
        return "| " + " | ".join(c.rjust(w) if column.right else c.ljust(w) for c, w, column in places) + " |"

    rule = "+" + "+".join("-" * (w + 2) for w in widths) + "+"
    return "\n".join([rule, line([c.heading for c in table.columns]), rule, *map(line, table.rows), rule])


def as_renderable(status: Status) -> RenderableType:
    """The block for a rich console; a narrow console shows fewer columns."""
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    head = RichTable.grid(padding=(0, 2, 0, 0))
    head.add_column(style="dim", no_wrap=True)
    head.add_column(overflow="fold")
    for heading, text in status.lines:
        head.add_row(heading, Text(text, style=AMBER if heading == "Note" else ""))
    parts: list[RenderableType] = [Text(status.title, style="bold"), head]
    for table, more in ((status.trials, status.more), (status.errors, status.more_errors)):
        if table is not None:
            parts += [Text(""), _Fitted(table)]
        if more:
            parts.append(Text(more, style="dim"))
    return Group(*parts)


class _Fitted:
    """A table that looks at the console's width when it is drawn."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        shown = self._table.fitting(options.max_width)
        yield _rich_table(shown)
        if left_out := shown.without(self._table):
            yield Text(left_out, style="dim")


def _rich_table(table: Table) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    rich = RichTable(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold dim")
    for column in table.columns:
        justify = "right" if column.right else "left"
        rich.add_column(Text(column.heading), justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for row in table.rows:
        style = "bold" if row[0].startswith("*") else ""
        rich.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in row), style=style)
    return rich
