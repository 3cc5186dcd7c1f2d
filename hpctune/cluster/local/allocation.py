"""Bookkeeping of the CPUs and GPUs of one machine: what is taken, and what still fits. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpctune.errors import RequestRejectedError
from hpctune.model.resources import Resources

_MAX_JOBS = 1000
"""Jobs that may run at once; it matters for jobs that need neither CPUs nor GPUs."""
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Allocation:
    """The resources of one job: CPUs, the share of each GPU (by id), and amounts of others by name."""

    cpus: float = 0.0
    gpus: Mapping[str, float] = field(default_factory=dict)
    custom: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON-compatible form; :meth:`from_json` is its inverse."""
        return {"cpus": self.cpus, "gpus": dict(self.gpus), "custom": dict(self.custom)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Allocation:
        """Read what :meth:`to_json` wrote. Raises ValueError, KeyError or AttributeError for anything else."""
        gpus, custom = data["gpus"], data.get("custom", {})  # those of earlier versions have no others
        return cls(float(data["cpus"]), _amounts(gpus), _amounts(custom))


def _amounts(data: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(amount) for name, amount in data.items()}


@dataclass(frozen=True, slots=True)
class MachineResources:
    """The resources of the machine: a number of CPUs, the ids of its GPUs, and amounts of others by name."""

    cpus: int
    gpus: tuple[str, ...] = ()
    custom: Mapping[str, float] = field(default_factory=dict)

    def check(self, resources: Resources, machine: str = "this machine", options: str = "LocalOptions") -> None:
        """Raise RequestRejectedError if ``resources`` can never fit on this machine.

        ``machine`` and ``options``: how the message calls it, and what says how much it has.
        """
        for name, amount in _custom(resources).items():
            if amount > self.custom.get(name, 0.0) + _EPSILON:
                raise RequestRejectedError(
                    f"A trial needs {amount:g} of the resource {name!r}, and {machine} offers "
                    f"{self.custom.get(name, 0.0):g}. Say how much there is: {options}(resources={{{name!r}: "
                    f"{math.ceil(amount)}}}), or remove it from resources_per_trial."
                )
        for word, wanted, have in (("CPUs", resources.cpus, self.cpus), ("GPUs", resources.gpus, len(self.gpus))):
            if wanted > have + _EPSILON:
                raise RequestRejectedError(
                    f"A trial needs {wanted:g} {word}, and {machine} offers {have}. Ask for less, or, if the "
                    f"machine has more, raise {options}({word.lower()}=...)."
                )
        if resources.gpus > 1 and resources.gpus != int(resources.gpus):
            raise RequestRejectedError(
                f"A trial needs {resources.gpus:g} GPUs. More than one GPU must be a whole number."
            )

    def assign(self, resources: Resources, taken: Iterable[Allocation]) -> Allocation | None:
        """An allocation for ``resources`` beside those ``taken``; None if it does not fit now."""
        held = list(taken)
        cpus = self.cpus - sum(s.cpus for s in held)
        if resources.cpus > cpus + _EPSILON or len(held) >= _MAX_JOBS:
            return None
        free = {g: 1.0 - sum(s.gpus.get(g, 0.0) for s in held) for g in self.gpus}
        gpus, custom = _gpus(resources.gpus, free), _custom(resources)
        for name, amount in custom.items():
            if amount > self.custom.get(name, 0.0) - sum(s.custom.get(name, 0.0) for s in held) + _EPSILON:
                return None
        return None if gpus is None else Allocation(resources.cpus, gpus, custom)

    def room(self, resources: Resources, taken: Iterable[Allocation]) -> int:
        """How many jobs with ``resources`` still fit beside those ``taken``."""
        held = list(taken)
        before = len(held)
        while (share := self.assign(resources, held)) is not None:
            held.append(share)
        return len(held) - before


def _custom(resources: Resources) -> dict[str, float]:
    """The amounts of other resources than CPUs, GPUs and memory, of all bundles together."""
    names = sorted({name for bundle in resources.bundles for name in bundle.custom})
    return {name: sum(bundle.custom.get(name, 0.0) for bundle in resources.bundles) for name in names}


def _gpus(wanted: float, free: Mapping[str, float]) -> dict[str, float] | None:
    if wanted <= 0:
        return {}
    if wanted < 1:
        fitting = [g for g, left in free.items() if left >= wanted - _EPSILON]
        return {min(fitting, key=free.__getitem__): wanted} if fitting else None
    whole = [g for g, left in free.items() if left >= 1 - _EPSILON]
    count = int(wanted)
    return dict.fromkeys(whole[:count], 1.0) if len(whole) >= count else None


def visible(share: Allocation, machine: Sequence[str]) -> str | None:
    """CUDA_VISIBLE_DEVICES for a job with ``share``. None on machines without GPUs: the variable is not changed."""
    return ",".join(share.gpus) if machine else None
