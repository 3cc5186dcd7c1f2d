"""The ledger in words, for the terminal and the page."""

from __future__ import annotations

from hpctune.analysis.cost.groups import Group, grouped, total
from hpctune.analysis.cost.ledger import Ledger
from hpctune.analysis.cost.value import Value
from hpctune.common.text import count, hours
from hpctune.model.usage import Amounts

_COLUMNS = {
    "cpu_hours_asked": "CPU h asked",
    "cpu_hours_held": "CPU h held",
    "cpu_hours_used": "CPU h used",
    "gpu_hours_asked": "GPU h asked",
    "gpu_hours_held": "GPU h held",
    "node_hours_held": "node h held",
    "billing_hours": "billing h",
}
_NO_KEY = "-"


def cost_table(ledger: Ledger, by: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the ledger by ``by``, the sum last. GPUs and billing units only if there are some."""
    everything = total(ledger)
    shown = [
        name
        for name in _COLUMNS
        if not name.startswith(("gpu", "billing")) or getattr(everything, name) not in (0, None)
    ]
    header = [by, "jobs", "trials", *(_COLUMNS[name] for name in shown)]
    return header, [_row(group, shown) for group in (*grouped(ledger, by), everything)]


def _row(group: Group, shown: list[str]) -> list[str]:
    cells = [hours(getattr(group, name)) for name in shown]
    return [group.key or _NO_KEY, str(group.jobs), str(group.trials), *cells]


def value_lines(value: Value) -> list[str]:
    """What early stopping saved and what the best trial cost, as sentences."""
    lines = []
    if value.stopped:
        known = value.stopped - value.unknown
        unknown = f"; {value.unknown} more cannot be estimated" if value.unknown and known else ""
        saved = f"saved about {amounts_words(value.saved)} (estimate: {value.how}{unknown})"
        lines.append(
            f"Early stopping of {count(value.stopped, 'trial')} {saved if known else 'saved an unknown amount'}."
        )
    if value.best:
        lines.append(f"The best trial, {value.best}, cost {amounts_words(value.best_cost)}.")
    return lines


def amounts_words(of: Amounts) -> str:
    """Such as "3.20 GPU hours, 12.80 CPU hours"; GPUs only if there are some."""
    gpus = f"{hours(of.gpus)} GPU hours, " if of.gpus else ""
    return f"{gpus}{hours(of.cpus)} CPU hours"


def summary(ledger: Ledger) -> str:
    """One line: what was held, and the share of each cause; "" if nothing was held."""
    everything = total(ledger)
    gpus = everything.gpu_hours_held > 0
    of = everything.gpu_hours_held if gpus else everything.cpu_hours_held
    if not of:
        return ""
    shares = [
        f"{(group.gpu_hours_held if gpus else group.cpu_hours_held) / of:.0%} {group.key}"
        for group in grouped(ledger, "cause")
    ]
    held = Amounts(everything.cpu_hours_held, everything.gpu_hours_held, everything.node_hours_held)
    return f"{amounts_words(held)} held: {', '.join(shares)}"
