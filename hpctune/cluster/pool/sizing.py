"""The size of a pool: how many workers it should have, and what their jobs ask for. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpctune.model.resources import Resources
from hpctune.worker.pool.resources import gpus_for, trials_per_gpu

_EPSILON = 1e-9
MAX_AT_ONCE = 1000
"""Places that are requested in one step at most."""


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """Workers of one kind: ``slots`` trials side by side, each of which may need up to ``resources``."""

    resources: Resources
    slots: int = 1

    @property
    def job(self) -> Resources:
        """The resources that the worker's job asks for."""
        bundle = self.resources.bundles[0]
        if self.slots == 1 and not 0 < bundle.gpus < 1:
            return self.resources
        memory = bundle.memory_bytes
        together = replace(
            bundle,
            cpus=bundle.cpus * self.slots,
            gpus=gpus_for(self.slots, bundle.gpus),
            memory_bytes=None if memory is None else memory * self.slots,
        )
        return Resources((together,), self.resources.strategy)


def kind_for(resources: Resources, trials_per_worker: int | None) -> WorkerShape:
    """The shape of the workers for trials that need ``resources``.

    Without ``trials_per_worker``, a worker has as many places as there are trials that can share a GPU (or, if no GPU
    is asked for, a CPU) of which each needs a fraction; else one. A trial of several tasks never shares its worker.
    """
    if len(resources.bundles) > 1:
        return WorkerShape(resources)
    if trials_per_worker is not None:
        return WorkerShape(resources, trials_per_worker)
    bundle = resources.bundles[0]
    if 0 < bundle.gpus < 1:
        return WorkerShape(resources, trials_per_gpu(bundle.gpus))
    if bundle.gpus == 0 and 0 < bundle.cpus < 1:
        return WorkerShape(resources, max(1, math.floor(1.0 / bundle.cpus + _EPSILON)))
    return WorkerShape(resources)


def fits(kind: WorkerShape, resources: Resources) -> bool:
    """Whether a trial that needs ``resources`` may run on such a worker."""
    if kind.resources == resources:
        return True
    if len(resources.bundles) > 1 or len(kind.resources.bundles) > 1:
        return False
    have, need = kind.resources.bundles[0], resources.bundles[0]
    if need.custom or have.custom or need.gpus > have.gpus or need.cpus > have.cpus:
        return False
    return need.memory_bytes is None or (have.memory_bytes is not None and need.memory_bytes <= have.memory_bytes)


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """The load of one worker, for the size of the pool.

    ``held``: number of assignments that are not over. ``behind``: how many of them have waited behind others for too
    long.
    """

    name: str
    kind: WorkerShape
    held: int = 0
    started: bool = False
    behind: int = 0


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """A change of the pool. ``grow``: the workers to add. ``surplus``: the names of workers without work.

    In ``surplus``, workers that wait for their start come first, and newer ones before older ones. ``short``: the pool
    is full of workers of other shapes.
    """

    grow: tuple[WorkerShape, ...] = ()
    surplus: tuple[str, ...] = ()
    short: bool = False


def resize(
    workers: Sequence[WorkerLoad],
    needs: Sequence[tuple[Resources, int]],
    trials_per_worker: int | None = None,
    max_workers: int | None = None,
) -> ScalePlan:
    """Compare ``workers`` (without those that are about to end) with ``needs``, which come on top of what they hold."""
    free = {w.name: max(0, w.kind.slots - w.held) for w in workers}
    used = {w.name for w in workers if w.held}
    behind = [(w.kind.resources, w.behind) for w in workers if w.behind]
    in_order = sorted(workers, key=lambda w: (not w.started, w.name))
    grow: list[WorkerShape] = []
    for resources, count in [*behind, *needs]:
        for worker in in_order:
            if count > 0 and free[worker.name] and fits(worker.kind, resources):
                taken = min(count, free[worker.name])
                free[worker.name] -= taken
                count -= taken
                used.add(worker.name)
        if count > 0:
            kind = kind_for(resources, trials_per_worker)
            grow += [kind] * math.ceil(min(count, MAX_AT_ONCE) / kind.slots)
    surplus = [w for w in workers if w.name not in used]
    surplus.sort(key=lambda w: w.name, reverse=True)
    surplus.sort(key=lambda w: w.started)
    room = len(grow) if max_workers is None else max(0, max_workers - len(workers))
    return ScalePlan(tuple(grow[:room]), tuple(w.name for w in surplus), bool(surplus) and len(grow) > room)
