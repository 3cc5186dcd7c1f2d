"""The resources of one trial, in Ray Tune's terms, and the request for one job."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hpctune.common.checks import is_number
from hpctune.errors import UsageError

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
_KEYS = {"cpu": "cpu", "CPU": "cpu", "gpu": "gpu", "GPU": "gpu", "memory": "memory"}
_MEANT = {"cpus": "cpu", "num_cpus": "cpu", "gpus": "gpu", "num_gpus": "gpu", "mem": "memory"}
"""Names of other programs, which would be resources of the site here."""
_LEGACY_ZERO = ("extra_cpu", "extra_gpu", "extra_memory", "extra_custom_resources", "object_store_memory")


class PlacementGroupFactory:
    """Bundles of resources that one trial needs together.

    The first bundle is for the trial's main process. On Slurm, bundles become tasks. ``strategy`` places them: PACK
    (on few nodes), SPREAD (on many), STRICT_PACK (on one node), STRICT_SPREAD (each on its own node).
    """

    def __init__(
        self, bundles: Sequence[Mapping[str, float]], strategy: str = "PACK", *, bundle_label_selector: Any = None
    ) -> None:
        if bundle_label_selector:
            raise UsageError(
                f"bundle_label_selector={bundle_label_selector!r}: nodes are chosen by the Slurm option constraint, "
                "for all bundles: SlurmOptions(constraint=...), or --constraint of hpctune run."
            )
        if not bundles or not all(isinstance(b, Mapping) for b in bundles):
            raise UsageError(f"PlacementGroupFactory needs a non-empty list of dicts, not {bundles!r}.")
        if strategy not in STRATEGIES:
            raise UsageError(f"strategy={strategy!r} is not a valid value. Valid are: {', '.join(STRATEGIES)}.")
        self.head_bundle_is_empty = not any(bundles[0].values())
        """The main process has no resources of its own. Then it runs beside the first of the other bundles."""
        self.bundles: list[dict[str, float]] = [dict(b) for b in bundles[self.head_bundle_is_empty :]]
        if not self.bundles:
            raise UsageError("PlacementGroupFactory needs a bundle with resources, such as {'CPU': 1}.")
        self.strategy = strategy

    @property
    def head_cpus(self) -> float:
        """CPUs of the main process."""
        return 0.0 if self.head_bundle_is_empty else float(self.bundles[0].get("CPU", 0.0))

    @property
    def required_resources(self) -> dict[str, float]:
        """The sum over all bundles."""
        total: dict[str, float] = {}
        for bundle in self.bundles:
            for name, amount in bundle.items():
                total[name] = total.get(name, 0.0) + amount
        return total

    def __repr__(self) -> str:
        return f"PlacementGroupFactory({self.bundles!r}, strategy={self.strategy!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroupFactory) and (self.bundles, self.strategy) == (
            other.bundles,
            other.strategy,
        )

    def __hash__(self) -> int:
        return hash(repr(self))


def resource_dict_to_pg_factory(spec: Mapping[str, Any] | None = None) -> PlacementGroupFactory:
    """One bundle, of a dict such as ``{"cpu": 2, "gpu": 1}`` (default: one CPU)."""
    given = dict(spec or {"cpu": 1})
    custom = given.pop("custom_resources", None) or {}
    names = {"cpu": "CPU", "gpu": "GPU"}
    found = {names.get(name, name): amount for name, amount in {**given, **dict(custom)}.items() if amount}
    return PlacementGroupFactory([found])


@dataclass(frozen=True, slots=True)
class Bundle:
    """The resources of one task. ``cpus`` and ``gpus`` may be fractions. ``memory_bytes`` None: the site's default."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int | None = None
    custom: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resources:
    """The request of one trial, with one bundle for each task.

    ``time_factor``: the factor by which the time limit of the cluster's options is multiplied.
    """

    bundles: tuple[Bundle, ...] = (Bundle(),)
    strategy: str = "PACK"
    time_factor: float = 1.0

    @property
    def cpus(self) -> float:
        """The total number of CPUs."""
        return sum(b.cpus for b in self.bundles)

    @property
    def gpus(self) -> float:
        """The total number of GPUs."""
        return sum(b.gpus for b in self.bundles)

    @property
    def memory_bytes(self) -> int | None:
        """The total memory; None if no bundle states any."""
        stated = [b.memory_bytes for b in self.bundles if b.memory_bytes is not None]
        return sum(stated) if stated else None

    def placement_group_factory(self) -> PlacementGroupFactory:
        """The same in Ray Tune's form."""
        bundles = [
            {"CPU": b.cpus, "GPU": b.gpus} | ({"memory": b.memory_bytes} if b.memory_bytes else {}) | dict(b.custom)
            for b in self.bundles
        ]
        return PlacementGroupFactory(bundles, self.strategy)

    @classmethod
    def parse(cls, request: object) -> Resources:
        """Read a user's request: None, a dict such as ``{"cpu": 2, "gpu": 0.5}``, or a PlacementGroupFactory.

        Raises UsageError for anything else, negative amounts and empty requests.
        """
        if request is None:
            return cls()
        if isinstance(request, Resources):
            return request
        if isinstance(request, PlacementGroupFactory):
            return cls(tuple(_bundle(b, default_cpu=0.0) for b in request.bundles), request.strategy)
        if isinstance(request, Mapping):
            return cls((_bundle(request, default_cpu=1.0),))
        raise UsageError(
            f"resources_per_trial must be a dict such as {{'cpu': 2, 'gpu': 1}} or a "
            f"PlacementGroupFactory, not {request!r}."
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-compatible form; :meth:`from_json` is its inverse."""
        longer = {"time_factor": self.time_factor} if self.time_factor != 1.0 else {}
        return {
            **longer,
            "strategy": self.strategy,
            "bundles": [
                {"cpu": b.cpus, "gpu": b.gpus, "memory": b.memory_bytes, "custom_resources": dict(b.custom)}
                for b in self.bundles
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Resources:
        """Read what :meth:`to_json` wrote."""
        return cls(
            tuple(Bundle(b["cpu"], b["gpu"], b["memory"], dict(b["custom_resources"])) for b in data["bundles"]),
            data["strategy"],
            data.get("time_factor", 1.0),
        )

    def grown(self, *, memory: float = 1.0, time: float = 1.0) -> Resources:
        """The same request with memory and time multiplied. Bundles that state no memory still state none."""
        bundles = tuple(
            replace(b, memory_bytes=None if b.memory_bytes is None else math.ceil(b.memory_bytes * memory))
            for b in self.bundles
        )
        return replace(self, bundles=bundles, time_factor=self.time_factor * time)

    def describe(self) -> str:
        """A short description for people: ``2 CPU, 1 GPU, 4.0 GiB``."""
        words = [f"{self.cpus:g} CPU"]
        if self.gpus:
            words.append(f"{self.gpus:g} GPU")
        if self.memory_bytes:
            words.append(f"{self.memory_bytes / 2**30:.1f} GiB")
        if len(self.bundles) > 1:
            words.append(f"{len(self.bundles)} tasks ({self.strategy})")
        if self.time_factor != 1.0:
            words.append(f"{self.time_factor:g} times the time")
        return ", ".join(words)


def _bundle(request: Mapping[str, Any], default_cpu: float) -> Bundle:
    amounts: dict[str, float] = {"cpu": default_cpu, "gpu": 0.0, "memory": 0.0}
    custom: dict[str, float] = {}
    for key, value in request.items():
        if key == "custom_resources":
            custom.update({k: _amount(k, v) for k, v in value.items()})
        elif key in _KEYS:
            amounts[_KEYS[key]] = _amount(key, value)
        elif key in _LEGACY_ZERO:
            if value:
                raise UsageError(f"Resource {key!r} is not supported. Use a PlacementGroupFactory instead.")
        elif str(key).lower() in _MEANT:
            raise UsageError(
                f"There is no resource {key!r}. Did you mean {_MEANT[str(key).lower()]!r}? A resource of the site that "
                f"has this name: custom_resources={{{key!r}: {value!r}}}."
            )
        else:
            custom[key] = _amount(key, value)
    if amounts["cpu"] == 0 and amounts["gpu"] == 0 and not custom:
        amounts["cpu"] = 1.0
    return Bundle(amounts["cpu"], amounts["gpu"], int(amounts["memory"]) or None, custom)


def _amount(key: str, value: Any) -> float:
    if not is_number(value) or value < 0:
        raise UsageError(f"Resource {key!r} must be a number of 0 or more, not {value!r}.")
    return float(value)
