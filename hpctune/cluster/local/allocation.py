"""Which CPUs and GPUs of one machine are taken, and what still fits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hpctune.errors import RequestRejectedError
from hpctune.model.resources import Resources

_MOST = 1000
"""How many jobs that need neither CPUs nor GPUs may run at once."""
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one job holds: CPUs, and of each GPU (by id) how much."""

    cpus: float = 0.0
    gpus: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MachineResources:
    """The machine: a number of CPUs, and ids of GPUs."""

    cpus: int
    gpus: tuple[str, ...] = ()

    def check(self, resources: Resources) -> None:
        """Raise RequestRejectedError when ``resources`` can never fit here."""
        custom = sorted({name for b in resources.bundles for name in b.custom})
        if custom:
            raise RequestRejectedError(
                f"Resource {custom[0]!r} means nothing on one machine. Take it out of resources_per_trial."
            )
        for word, wanted, have in (("CPUs", resources.cpus, self.cpus), ("GPUs", resources.gpus, len(self.gpus))):
            if wanted > have + _EPSILON:
                raise RequestRejectedError(
                    f"A trial needs {wanted:g} {word}, and this machine offers {have}. Ask for less, or raise "
                    f"LocalOptions({word.lower()}=...) if there are more."
                )
        if resources.gpus > 1 and resources.gpus != int(resources.gpus):
            raise RequestRejectedError(
                f"A trial needs {resources.gpus:g} GPUs. Above one GPU only whole ones can be given."
            )

    def assign(self, resources: Resources, taken: Iterable[Allocation]) -> Allocation | None:
        """A share for ``resources`` beside those ``taken``; None when it does not fit now."""
        held = list(taken)
        cpus = self.cpus - sum(s.cpus for s in held)
        if resources.cpus > cpus + _EPSILON or len(held) >= _MOST:
            return None
        free = {g: 1.0 - sum(s.gpus.get(g, 0.0) for s in held) for g in self.gpus}
        gpus = _gpus(resources.gpus, free)
        return None if gpus is None else Allocation(resources.cpus, gpus)

    def room(self, resources: Resources, taken: Iterable[Allocation]) -> int:
        """How many jobs that need ``resources`` still fit beside those ``taken``."""
        held = list(taken)
        before = len(held)
        while (share := self.assign(resources, held)) is not None:
            held.append(share)
        return len(held) - before


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
    """CUDA_VISIBLE_DEVICES for a job with ``share``; None on machines without GPUs: leave it alone."""
    return ",".join(share.gpus) if machine else None
