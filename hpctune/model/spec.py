"""The definition of an experiment as frozen data. Code (trainable, policies) is pickled beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hpctune.common.checks import check_directory_name, check_mode
from hpctune.errors import UsageError
from hpctune.model.budget import Budget
from hpctune.model.failure_policy import FailurePolicy

SPEC_VERSION = 1
_MAX_NAME_BYTES = 240


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """Which checkpoints are made and kept.

    ``keep``: how many to keep; None: all. ``score_attribute``: the best by this value and ``score_order`` (max, min)
    are kept, and always the newest; None: the newest are kept. ``frequency``: a checkpoint every this many iterations,
    for class trainables only; 0: never. ``at_end``: a checkpoint at the end of a trial. ``max_total`` and
    ``max_total_bytes``: of all trials together at most so many, and so many bytes; None: no limit.
    """

    keep: int | None = None
    score_attribute: str | None = None
    score_order: str = "max"
    frequency: int = 0
    at_end: bool = False
    max_total: int | None = None
    max_total_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep <= 0:
            raise UsageError(f"num_to_keep / keep_checkpoints_num must be 1 or more, or None; not {self.keep}.")
        if self.score_order not in ("max", "min"):
            raise UsageError(f"checkpoint_score_order must be 'max' or 'min', not {self.score_order!r}.")
        if self.frequency < 0:
            raise UsageError(f"checkpoint_frequency must be 0 or more, not {self.frequency}.")
        for name, value in (("max_total_checkpoints", self.max_total), ("max_total_bytes", self.max_total_bytes)):
            if value is not None and value <= 0:
                raise UsageError(f"{name} must be above 0, or None; not {value}.")

    @property
    def limited(self) -> bool:
        """Whether checkpoints are ever removed."""
        return not (self.keep is self.max_total is self.max_total_bytes is None)


@dataclass(frozen=True, slots=True)
class ExperimentSpec:
    """One search, as data.

    ``metric``, ``mode``: what is optimized. ``more_objectives``: further metrics with their modes, if several are.
    ``num_samples``: -1 means no limit. ``criteria``: flat stop thresholds that workers evaluate. ``time_budget_s``:
    seconds of driven time over all drivers. ``budget``: hours that the jobs may hold. ``max_failures``: -1 means no
    limit. ``fail_fast``: "" (off), "stop" or "raise". ``cluster`` and ``cluster_options``: name and options as given.
    ``stop_grace_s``: if a running trial has not followed a stop order after this many seconds (default 30), its job is
    cancelled. ``decision_timeout_s``: seconds that a worker waits at a milestone (default 30). ``share_with_group``:
    whether the group of the directory may read it. ``server_port``: the port of the driver's server for clients; None:
    no server. ``origin``: what the experiment was made of (see ``launch.origin``), for people.
    """

    experiment_id: str
    name: str
    created_at: float
    trainable: str
    metric: str | None = None
    mode: str | None = None
    more_objectives: tuple[tuple[str, str], ...] = ()
    num_samples: int = 1
    seed: int = 0
    criteria: Mapping[str, Any] = field(default_factory=dict)
    time_budget_s: float | None = None
    budget: Budget | None = None
    max_concurrent: int | None = None
    max_failures: int = 0
    fail_fast: str = ""
    checkpoint: CheckpointPolicy = field(default_factory=CheckpointPolicy)
    failure_policy: FailurePolicy = field(default_factory=FailurePolicy)
    export_formats: tuple[str, ...] = ()
    restore: str | None = None
    stdout: str | None = "stdout"
    stderr: str | None = "stderr"
    stop_grace_s: float = 30.0
    decision_timeout_s: float = 30.0
    undecided: str = "next"
    share_with_group: bool = False
    server_port: int | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = "auto"
    cluster_options: Mapping[str, Any] = field(default_factory=dict)
    version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        check_directory_name("An experiment's name", self.name, _MAX_NAME_BYTES)
        if self.mode is not None:
            check_mode(self.mode)
        if self.num_samples < -1 or self.num_samples == 0:
            raise UsageError(f"num_samples must be 1 or more, or -1 for no limit; not {self.num_samples}.")
        if self.max_concurrent is not None and self.max_concurrent < 0:
            raise ValueError(f"max_concurrent_trials must be 0 (no limit) or more, not {self.max_concurrent}.")
        if self.max_failures < -1:
            raise UsageError(f"max_failures must be -1 (no limit), 0 or more; not {self.max_failures}.")
        if self.fail_fast and self.max_failures != 0:
            raise ValueError("fail_fast and max_failures exclude each other. Remove one of them.")

    @property
    def objectives(self) -> tuple[tuple[str, str], ...]:
        """Every metric that is optimized, with its mode: none, one, or several at once."""
        if self.metric is None or self.mode is None:
            return ()
        return ((self.metric, self.mode), *self.more_objectives)

    def to_json(self) -> dict[str, Any]:
        """A JSON-compatible form; :meth:`from_json` is its inverse."""
        data = asdict(self)
        data["care"] = data.pop("failure_policy")  # its name on disk
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExperimentSpec:
        """Read what :meth:`to_json` wrote. Raises UsageError if a newer version of hpctune wrote it."""
        if data.get("version", 0) > SPEC_VERSION:
            raise UsageError(
                f"Experiment {data.get('name')!r} was written by a newer hpctune (format {data['version']}, this one "
                f"reads up to {SPEC_VERSION}). Upgrade: pip install --upgrade hpctune"
            )
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        known["checkpoint"] = CheckpointPolicy(**known.get("checkpoint", {}))
        known["failure_policy"] = FailurePolicy(**data.get("care", {}))
        known["budget"] = Budget.from_json(known.get("budget"))
        known["more_objectives"] = tuple((metric, mode) for metric, mode in known.get("more_objectives", ()))
        known["export_formats"] = tuple(known.get("export_formats", ()))
        return cls(**known)
