"""``ScalingConfig``: how many processes a trial has, and what each of them gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.resources import PlacementGroupFactory


@dataclass
class ScalingConfig:
    """The processes of one trial and their resources; ``tune.with_resources(train, ScalingConfig(...))``."""

    trainer_resources: Any = None
    num_workers: Any = 1
    use_gpu: Any = False
    resources_per_worker: Any = None
    placement_strategy: Any = "PACK"
    accelerator_type: str | None = None

    def __post_init__(self) -> None:
        if self.accelerator_type is not None:
            raise UsageError(
                f"ScalingConfig(accelerator_type={self.accelerator_type!r}): the kind of GPU is a Slurm option: "
                "SlurmOptions(gpu_type=...), or --gpu-type of hpctune run."
            )
        per_worker = self.resources_per_worker
        if not self.use_gpu and isinstance(per_worker, Mapping) and per_worker.get("GPU", 0) > 0:
            raise UsageError("ScalingConfig: resources_per_worker asks for a GPU, and use_gpu is False.")

    @property
    def num_cpus_per_worker(self) -> float:
        """CPUs of one process."""
        return float(self._per_worker.get("CPU", 0))

    @property
    def num_gpus_per_worker(self) -> float:
        """GPUs of one process."""
        return float(self._per_worker.get("GPU", 0))

    @property
    def additional_resources_per_worker(self) -> dict[str, float]:
        """Other resources of one process."""
        return {name: amount for name, amount in self._per_worker.items() if name not in ("CPU", "GPU")}

    @property
    def total_resources(self) -> dict[str, float]:
        """The sum over all bundles."""
        total: dict[str, float] = {}
        for bundle in self.as_placement_group_factory().bundles:
            for name, amount in bundle.items():
                total[name] = total.get(name, 0.0) + amount
        return total

    @property
    def _per_worker(self) -> dict[str, float]:
        given = {} if self.resources_per_worker is None else dict(self.resources_per_worker)
        if self.resources_per_worker is None:
            given["CPU"] = 1
        if self.use_gpu:
            given.setdefault("GPU", 1)
        return {name: amount for name, amount in given.items() if amount}

    def as_placement_group_factory(self) -> PlacementGroupFactory:
        """One bundle for each process, after that of the trainer."""
        trainer = {"CPU": 1} if self.trainer_resources is None else dict(self.trainer_resources)
        trainer = {name: amount for name, amount in trainer.items() if amount}
        workers = [self._per_worker for _ in range(self.num_workers or 0)]
        bundles = [*([trainer] if trainer else []), *workers]
        return PlacementGroupFactory(bundles or [{"CPU": 1}], self.placement_strategy)

    def bundles_of_ranks(self) -> PlacementGroupFactory:
        """One bundle for each process of a trainer; what is stated for the trainer is part of the first."""
        if isinstance(self.num_workers, bool) or not isinstance(self.num_workers, int) or self.num_workers < 1:
            raise UsageError(f"ScalingConfig(num_workers={self.num_workers!r}) must be a whole number of at least 1.")
        first, *others = [self._per_worker or {"CPU": 1} for _ in range(self.num_workers)]
        more = dict(self.trainer_resources or {})
        together = {name: first.get(name, 0) + more.get(name, 0) for name in {**first, **more}}
        return PlacementGroupFactory([together, *others], self.placement_strategy)

    @classmethod
    def from_placement_group_factory(cls, pgf: PlacementGroupFactory) -> ScalingConfig:
        """The inverse: the first bundle is the trainer's."""
        first, *workers = pgf.bundles
        per_worker = dict(workers[0]) if workers else {}
        return cls(
            trainer_resources=dict(first),
            num_workers=len(workers),
            use_gpu=per_worker.get("GPU", 0) > 0,
            resources_per_worker=per_worker or None,
            placement_strategy=pgf.strategy,
        )
