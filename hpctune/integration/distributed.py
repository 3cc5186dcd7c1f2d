"""What the creators of distributed trainables share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpctune.common.checks import check_whole, is_number
from hpctune.errors import UsageError
from hpctune.model.resources import PlacementGroupFactory
from hpctune.worker.ranks.trainable import Backend, DistributedTrainable
from hpctune.worker.runners import form_of


def distributed_trainable(
    function: Callable[..., Any],
    backend: Backend,
    *,
    workers: Any,
    cpus: Any,
    gpus: Any,
    per_host: Any,
    timeout_s: Any,
) -> DistributedTrainable:
    """A trainable of ``workers`` processes; with ``per_host``, that many on each of as many nodes as it takes.

    Raises UsageError for impossible numbers.
    """
    check_whole("num_workers", workers, 1)
    for name, value in (("num_cpus_per_worker", cpus), ("num_gpus_per_worker", gpus)):
        if not is_number(value) or value < 0:
            raise UsageError(f"{name} must be a number of 0 or more, not {value!r}.")
    if not is_number(timeout_s) or timeout_s <= 0:
        raise UsageError(f"timeout_s must be a number of seconds above 0, not {timeout_s!r}.")
    together = 1
    if per_host is not None:
        check_whole("num_workers_per_host", per_host, 1)
        if workers % per_host:
            raise UsageError(f"num_workers={workers} is no multiple of num_workers_per_host={per_host}.")
        together = per_host
    amounts = {"CPU": cpus * together, "GPU": gpus * together}
    bundle = {name: amount for name, amount in amounts.items() if amount} or {"CPU": together}
    strategy = "PACK" if per_host is None else "STRICT_SPREAD"
    resources = PlacementGroupFactory([bundle] * (workers // together), strategy)
    found = DistributedTrainable(function, resources, together, backend, float(timeout_s))
    form_of(found)
    return found
