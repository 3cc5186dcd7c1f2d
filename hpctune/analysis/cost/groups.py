"""Sums of a ledger's rows, by anything: one function for all tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hpctune.analysis.cost.ledger import Ledger, Row
from hpctune.analysis.cost.runs import Cause

KEYS: dict[str, Callable[[Row], str]] = {
    "cause": lambda row: row.cause.value,
    "trial": lambda row: row.trial,
    "job": lambda row: row.job,
    "partition": lambda row: row.partition,
    "account": lambda row: row.account,
    "user": lambda row: row.user,
    "week": lambda row: row.week,
    "experiment": lambda row: row.experiment,
}
"""What rows can be grouped by."""
_CAUSES = [cause.value for cause in Cause]


@dataclass(frozen=True, slots=True)
class Group:
    """The hours of the rows with one ``key``; None: not known. ``jobs`` and ``trials``: how many they are of."""

    key: str
    jobs: int
    trials: int
    cpu_hours_asked: float
    cpu_hours_held: float
    cpu_hours_used: float | None
    gpu_hours_asked: float
    gpu_hours_held: float
    node_hours_asked: float
    node_hours_held: float
    billing_hours: float | None

    def as_dict(self, by: str) -> dict[str, Any]:
        """With the key under the name of what the rows are grouped by."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "key"}
        return {by: self.key, **fields}


def grouped(ledger: Ledger, by: str) -> list[Group]:
    """The groups of a ledger by one of KEYS: causes in their order, weeks by date, others with the most hours first."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in ledger.rows:
        rows[KEYS[by](row)].append(row)
    whole = Counter(row.allocation for row in ledger.rows)
    groups = [_group(key, found, ledger, whole) for key, found in rows.items()]
    if by == "cause":
        return sorted(groups, key=lambda group: _CAUSES.index(group.key))
    if by in ("week", "job"):
        return sorted(groups, key=lambda group: min(row.begin for row in rows[group.key]))
    return sorted(groups, key=lambda g: (-g.gpu_hours_held, -g.cpu_hours_held, g.key))


def total(ledger: Ledger) -> Group:
    """The sum of all rows."""
    return _group("all", ledger.rows, ledger, Counter(row.allocation for row in ledger.rows))


def _group(key: str, rows: Sequence[Row], ledger: Ledger, whole: Counter[str]) -> Group:
    hours = [row.seconds / 3600 for row in rows]
    billing: float | None = 0.0
    for row, length in zip(rows, hours, strict=True):
        billing = None if billing is None or row.held.billing is None else billing + row.held.billing * length
    return Group(
        key,
        len({(row.experiment, row.job) for row in rows}),
        len({(row.experiment, row.trial) for row in rows if row.trial}),
        sum(row.asked.cpus * h for row, h in zip(rows, hours, strict=True)),
        sum(row.held.cpus * h for row, h in zip(rows, hours, strict=True)),
        _used(rows, ledger, whole),
        sum(row.asked.gpus * h for row, h in zip(rows, hours, strict=True)),
        sum(row.held.gpus * h for row, h in zip(rows, hours, strict=True)),
        sum(row.asked.nodes * h for row, h in zip(rows, hours, strict=True)),
        sum(row.held.nodes * h for row, h in zip(rows, hours, strict=True)),
        billing,
    )


def _used(rows: Sequence[Row], ledger: Ledger, whole: Counter[str]) -> float | None:
    """CPU hours that were used. Slurm knows them of a job as a whole, so of a part of a job they are not known."""
    here = Counter(row.allocation for row in rows)
    if not here or any(whole[a] != n or a not in ledger.used for a, n in here.items()):
        return None
    return sum(ledger.used[a] for a in here) / 3600
