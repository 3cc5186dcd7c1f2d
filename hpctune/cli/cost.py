"""``hpctune cost``: the hours that experiments asked for, held and used, and what for."""

from __future__ import annotations

from collections.abc import Iterator

import click

from hpctune.analysis.cost.groups import KEYS, Group, grouped, total
from hpctune.analysis.cost.ledger import Ledger, ledger_of
from hpctune.analysis.cost.tables import cost_table, value_lines
from hpctune.analysis.cost.value import Value
from hpctune.analysis.table_files import csv_text
from hpctune.cli import find
from hpctune.common.text import clean, table
from hpctune.model.usage import Amounts
from hpctune.storage.values import as_json


@click.command(
    "cost",
    epilog="Example: hpctune cost ~/hpctune_results/mnist --by week --csv",
    help="Show the CPU, GPU and node hours that experiments asked for, held and used: by what they were used for "
    "(user code, start-up, idle time, lost to preemption, failure and zombies), or by trial, partition, account, "
    "user, week, job or experiment. The numbers are from Slurm's accounting if there is some, else from hpctune's own "
    f"records. Hours that are not known are shown as '-'.\n\n{find.DIR_HELP}",
)
@click.argument("directories", metavar="[DIR]...", nargs=-1)
@click.option("--by", type=click.Choice(list(KEYS)), default="cause", help="What to sum by. Default: cause.")
@click.option("--csv", "csv_wanted", is_flag=True, help="Print a CSV table instead, with every column.")
@click.option("--json", "json_wanted", is_flag=True, help="Print JSON instead, with every column.")
def command(directories: tuple[str, ...], by: str, csv_wanted: bool, json_wanted: bool) -> None:
    """The command."""
    found = {paths.root: paths for paths in (find.experiment(named) for named in directories or (None,))}
    ledger = ledger_of(list(found))
    groups = grouped(ledger, by)
    if json_wanted:
        click.echo(as_json(as_dict(ledger, groups, by)))
    elif csv_wanted:
        click.echo(csv_text([group.as_dict(by) for group in (*groups, total(ledger))]), nl=False)
    else:
        click.echo("\n".join(_text(ledger, groups, by)))


def as_dict(ledger: Ledger, groups: list[Group], by: str) -> dict[str, object]:
    """The groups, their sum, the sources and the value of each search, as plain data."""
    return {
        "by": by,
        "groups": [group.as_dict(by) for group in groups],
        "total": total(ledger).as_dict(by),
        "sources": dict(ledger.sources),
        "values": {name: _value_dict(value) for name, value in ledger.values.items()},
    }


def _value_dict(value: Value) -> dict[str, object]:
    def amounts(of: Amounts) -> dict[str, float | None]:
        return {
            "cpu_hours": of.cpus, "gpu_hours": of.gpus, "node_hours": of.nodes, "billing_hours": of.billing
        }  # fmt: skip

    return {
        "stopped_early": value.stopped,
        "saved": amounts(value.saved),
        "saved_how": value.how,
        "saved_unknown": value.unknown,
        "best_trial": value.best or None,
        "best_cost": amounts(value.best_cost),
    }


def _text(ledger: Ledger, groups: list[Group], by: str) -> Iterator[str]:
    for name, source in ledger.sources.items():
        yield f"{clean(name)}: from {clean(source)}"
    if not groups:
        yield "No job has begun yet: nothing was held."
        return
    yield ""
    yield from table(*cost_table(ledger, by))
    for name, value in ledger.values.items():
        if told := value_lines(value):
            yield from ["", *(f"{clean(name)}: {line}" if len(ledger.values) > 1 else line for line in told)]
