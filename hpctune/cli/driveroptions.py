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
    "driver_time": ("--driver-time", "TIME", "Time limit of each driver job, as in --time. Default: the site's."),
    "driver_partition": ("--driver-partition", "NAME", "Its partition. Default: the site's."),
    "driver_account": ("--driver-account", "NAME", "Account to charge for it. Default: the trials' account."),
    "driver_qos": ("--driver-qos", "NAME", "Its quality of service."),
    "driver_mem": ("--driver-mem", "SIZE", "Its memory. Default: 2G."),
}
DRIVER_FIELDS = frozenset({"sbatch", "driver_ahead", "driver_args", *_TEXTS})
"""Names of the parameters about the driver job."""


def driver_options() -> list[Callable[[Any], Any]]:
    """The options, in the order of the help."""
    made: list[Callable[[Any], Any]] = [
        click.option(
            "--sbatch",
            is_flag=True,
            help="Run the driver as a Slurm job with one CPU instead of in this process, and return at once. Before "
            "its time limit the job hands over to a successor, as often as needed.",
        )
    ]
    for name, (flag, metavar, text) in _TEXTS.items():
        made.append(click.option(flag, name, metavar=metavar, help=text))
    ahead = "Number of successors waiting in the queue at any time. Default: 1."
    made.append(click.option("--driver-ahead", type=click.IntRange(1, 50), metavar="N", help=ahead))
    more = "Any other sbatch option for it, such as nice=100; repeatable."
    made.append(click.option("--driver-arg", "driver_args", multiple=True, callback=text_pairs, metavar="KEY[=VALUE]",
                             help=more))  # fmt: skip
    return made


def driver_job(given: Mapping[str, Any]) -> DriverJobRequest | None:
    """The driver job that the options request; None if this process drives. Raises UsageError for a conflict."""
    said = {name.removeprefix("driver_"): given[name] for name in (*_TEXTS, "driver_ahead") if given[name] is not None}
    more = {str(key).lstrip("-").replace("_", "-"): value for key, value in dict(given["driver_args"] or {}).items()}
    if not given["sbatch"]:
        if said or more:
            flags = [f"--driver-{name}" for name in said] + ["--driver-arg"] * bool(more)
            raise UsageError(f"{', '.join(flags)} need a driver job. Add --sbatch.")
        return None
    from hpctune.cluster.slurm.driver_job import DriverJobOptions
    from hpctune.launch.driver_chain import DriverJobRequest

    verbose = 1 if given["verbose"] is None else int(given["verbose"])
    return DriverJobRequest(DriverJobOptions(**said, additional_parameters=more), verbose)
