"""The options of ``run`` and ``resume`` that make the driver a Slurm job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from hpctune.cli.values import text_pairs
from hpctune.errors import UsageError

if TYPE_CHECKING:
    from hpctune.launch.driver_chain import DriverJobRequest

_TEXTS = {
    "driver_time": ("--driver-time", "TIME", "Time limit of each driver job, as --time. Default: the site's."),
    "driver_partition": ("--driver-partition", "NAME", "Its partition. Default: the site's."),
    "driver_account": ("--driver-account", "NAME", "Account that is charged for it. Default: that of the trials."),
    "driver_qos": ("--driver-qos", "NAME", "Its quality of service."),
    "driver_mem": ("--driver-mem", "SIZE", "Its memory. Default: 2G."),
}
DRIVER_FIELDS = frozenset({"sbatch", "driver_ahead", "driver_args", *_TEXTS})
"""Names of the parameters that are about the driver's job."""


def driver_options() -> list[Callable[[Any], Any]]:
    """The options, in their order."""
    made: list[Callable[[Any], Any]] = [
        click.option(
            "--sbatch",
            is_flag=True,
            help="Drive from a Slurm job of one CPU instead of from here, and return at once. It hands over to a "
            "successor before its time is up, for as long as it takes.",
        )
    ]
    for name, (flag, metavar, text) in _TEXTS.items():
        made.append(click.option(flag, name, metavar=metavar, help=text))
    ahead = "Successors that wait in the queue at any time. Default: 1."
    made.append(click.option("--driver-ahead", type=click.IntRange(1, 50), metavar="N", help=ahead))
    more = "Any other option of sbatch for it, as nice=100; repeatable."
    made.append(click.option("--driver-arg", "driver_args", multiple=True, callback=text_pairs, metavar="KEY[=VALUE]",
                             help=more))  # fmt: skip
    return made


def driver_job(given: Mapping[str, Any]) -> DriverJobRequest | None:
    """What the options ask for; None where the driver is this process. Raises UsageError for what makes no sense."""
    said = {name.removeprefix("driver_"): given[name] for name in (*_TEXTS, "driver_ahead") if given[name] is not None}
    more = {str(key).lstrip("-").replace("_", "-"): value for key, value in dict(given["driver_args"] or {}).items()}
    if not given["sbatch"]:
        if said or more:
            flags = [f"--driver-{name}" for name in said] + ["--driver-arg"] * bool(more)
            raise UsageError(f"{', '.join(flags)} without --sbatch: then there is no driver job. Add --sbatch.")
        return None
    from hpctune.cluster.slurm.driver_job import DriverJobOptions
    from hpctune.launch.driver_chain import DriverJobRequest

    verbose = 1 if given["verbose"] is None else int(given["verbose"])
    return DriverJobRequest(DriverJobOptions(**said, additional_parameters=more), verbose)
