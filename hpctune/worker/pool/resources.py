"""The share of each trial in one allocation: GPUs, CPUs, threads. Pure, except ``take``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, MutableMapping, Sequence

from hpctune.model.pool import WorkerSpec

_EPSILON = 1e-9
_THREADS = "OMP_NUM_THREADS"
_DEVICES = "CUDA_VISIBLE_DEVICES"


def trials_per_gpu(gpus: float) -> int:
    """How many trials share one GPU if each needs ``gpus`` (a fraction)."""
    return max(1, math.floor(1.0 / gpus + _EPSILON))


def gpus_for(slots: int, gpus: float) -> float:
    """How many whole GPUs ``slots`` trials need together if each needs ``gpus``."""
    if gpus <= 0 or gpus >= 1:
        return slots * gpus
    return float(math.ceil(slots / trials_per_gpu(gpus) - _EPSILON))


def devices(spec: WorkerSpec, slot: int, environ: Mapping[str, str]) -> str | None:
    """CUDA_VISIBLE_DEVICES of the trial in ``slot``; None: keep it unchanged."""
    visible = [d for d in environ.get(_DEVICES, "").split(",") if d.strip()]
    if spec.slots == 1 or not visible or spec.gpus <= 0:
        return None
    if spec.gpus < 1:
        return visible[(slot // trials_per_gpu(spec.gpus)) % len(visible)]
    count = int(spec.gpus)
    return ",".join(visible[slot * count : (slot + 1) * count]) or None


def cpus(spec: WorkerSpec, slot: int, affinity: Sequence[int]) -> frozenset[int] | None:
    """The CPUs of the trial in ``slot``; None: do not bind.

    CPUs are bound only if this process may use exactly the CPUs that its job requested: then no other job uses them.
    """
    count = int(spec.cpus)
    if spec.slots == 1 or count < 1 or count != spec.cpus or len(affinity) != spec.slots * count:
        return None
    return frozenset(sorted(affinity)[slot * count : (slot + 1) * count])


def limit_threads(spec: WorkerSpec, environ: MutableMapping[str, str]) -> None:
    """Set the threads of numerical libraries to the CPUs of one trial, unless the user has set them.

    Call it before these libraries are imported.
    """
    whole = str(max(1, math.floor(spec.cpus * spec.slots)))
    if spec.slots > 1 and environ.get(_THREADS, whole) == whole:
        environ[_THREADS] = str(max(1, math.floor(spec.cpus)))


def take(spec: WorkerSpec, slot: int) -> None:
    """Restrict this process to the share of ``slot``."""
    visible = devices(spec, slot, os.environ)
    if visible is not None:
        os.environ[_DEVICES] = visible
    if spec.slots > 1 and hasattr(os, "sched_setaffinity"):
        own = cpus(spec, slot, sorted(os.sched_getaffinity(0)))
        if own is not None:
            os.sched_setaffinity(0, own)
