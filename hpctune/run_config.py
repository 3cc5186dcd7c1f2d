"""``RunConfig``, ``CheckpointConfig`` and ``FailureConfig``: the options of a run, of checkpoints, of failures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpctune.common.checks import as_bytes, check_choice, is_number, is_whole
from hpctune.errors import NotYetSupportedError, UsageError
from hpctune.model.failure_policy import FailurePolicy
from hpctune.model.spec import CheckpointPolicy

if TYPE_CHECKING:
    from hpctune.output.callback import Callback
    from hpctune.stopper import Stopper
    from hpctune.syncer import SyncConfig

DEPRECATED = "DEPRECATED"
"""Ray Tune's default for a deprecated parameter. It stands for a parameter that is not given."""


def refuse_deprecated(name: str, value: object) -> None:
    """Raise NotYetSupportedError unless ``value`` leaves the deprecated option ``name`` at its default."""
    if value not in (DEPRECATED, None, False):
        raise NotYetSupportedError(f"{name}={value!r} is deprecated in Ray Tune and has no effect here. Remove it.")


@dataclass
class CheckpointConfig:
    """Which checkpoints are made and kept.

    Args:
        num_to_keep: How many of a trial's checkpoints to keep (1 or more; None: all). The newest is always kept.
        checkpoint_score_attribute: The reported value by which the best are kept. None: the newest are kept.
        checkpoint_score_order: "max" (default) or "min".
        checkpoint_frequency: Class trainables save a checkpoint every this many iterations (default 0: never).
        checkpoint_at_end: Whether class trainables save a checkpoint when they end. None: with a Tuner they do, with
            ``run()`` they do not.

        max_total_checkpoints: How many checkpoints all trials together may keep. Beyond that those are removed that are
            needed least. None: no limit.
        max_total_bytes: The same for the sizes of their files: a number of bytes, or a text such as "500 GB".

    Raises:
        UsageError: (a ValueError) for an impossible value.
    """

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: str | None = "max"
    checkpoint_frequency: int | None = 0
    checkpoint_at_end: bool | None = None
    _checkpoint_keep_all_ranks: bool | str | None = DEPRECATED
    _checkpoint_upload_from_workers: bool | str | None = DEPRECATED
    max_total_checkpoints: int | None = field(default=None, kw_only=True)
    max_total_bytes: int | str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        refuse_deprecated("checkpoint_keep_all_ranks", self._checkpoint_keep_all_ranks)
        refuse_deprecated("checkpoint_upload_from_workers", self._checkpoint_upload_from_workers)
        for name in ("num_to_keep", "checkpoint_frequency", "max_total_checkpoints"):
            value = getattr(self, name)
            if value is not None and not is_whole(value):
                raise UsageError(f"{name} must be a whole number, not {value!r}.")
        self.policy()

    def policy(self) -> CheckpointPolicy:
        """The options in the engine's form."""
        return CheckpointPolicy(
            keep=self.num_to_keep,
            score_attribute=self.checkpoint_score_attribute,
            score_order=self.checkpoint_score_order or "max",
            frequency=self.checkpoint_frequency or 0,
            at_end=bool(self.checkpoint_at_end),
            max_total=self.max_total_checkpoints,
            max_total_bytes=None if self.max_total_bytes is None else as_bytes("max_total_bytes", self.max_total_bytes),
        )

    @classmethod
    def parse(cls, value: CheckpointConfig | Mapping[str, Any] | None) -> CheckpointConfig:
        """Parse a user's ``checkpoint_config``: a CheckpointConfig, a dict of its fields, or None."""
        if value is None or isinstance(value, cls):
            return value or cls()
        if not isinstance(value, Mapping):
            raise UsageError(f"checkpoint_config must be a CheckpointConfig or a dict of its fields, not {value!r}.")
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            valid = ", ".join(n for n in cls.__dataclass_fields__ if not n.startswith("_"))
            raise UsageError(f"checkpoint_config has no {unknown[0]!r}. Valid are: {valid}.")
        return cls(**value)


@dataclass(frozen=True)
class FailureConfig(FailurePolicy):
    """What happens if trials fail.

    Args:
        max_failures: How often a failed trial is tried again from its last checkpoint (default 0); -1: no limit.
        fail_fast: True ends the experiment at the first failed trial; "raise" also raises its error.

        decision_timeout_s: Seconds that a trial waits at a milestone for its scheduler's decision (default 30).
        undecided: What a trial does if none comes in that time, because no driver runs: "next" (the default: it goes on
            to the next milestone, waits there, and then pauses), "continue" (it goes on as far as it would without a
            scheduler), or "pause". It never goes past a ``max_t`` that its scheduler has.
        report_timeout_s: A running trial fails if it has not reported for this many seconds. None: no limit.
        grow_memory: A factor. If a trial runs out of memory, the next attempt asks for this many times as much, and no
            failure counts. This happens at most three times. The trials must state their memory.
        grow_time: The same for trials that reach their time limit without a new result.
        exclude_nodes_after: A node gets no more trials if this many attempts in a row died on it while attempts end
            well on other nodes.
        same_error_limit: The experiment stops if its first trials, this many, have all failed with the same error.
        canary: One trial runs alone until it has reported. If it fails before, the experiment stops.

    Raises:
        ValueError: for an impossible value, or if both ``max_failures`` and ``fail_fast`` are given.
    """

    max_failures: int = 0
    fail_fast: bool | str = False
    decision_timeout_s: float = field(default=30.0, kw_only=True)
    undecided: str = field(default="next", kw_only=True)

    def __post_init__(self) -> None:
        check_choice("undecided", self.undecided, ("next", "continue", "pause"))
        check_failures(self.max_failures, self.fail_fast)
        timeout = self.decision_timeout_s
        if not is_number(timeout) or not 0 <= timeout < float("inf"):
            raise UsageError(f"decision_timeout_s must be a number of seconds of 0 or more, not {timeout!r}.")
        super().__post_init__()

    def policy(self) -> FailurePolicy:
        """The part of the options that the engine stores as its failure policy."""
        return FailurePolicy(**{name: getattr(self, name) for name in FailurePolicy.__dataclass_fields__})


def check_failures(max_failures: object, fail_fast: object) -> None:
    """Raise a UsageError (a ValueError) unless the two are valid and do not exclude each other."""
    if not is_whole(max_failures) or max_failures < -1:
        raise UsageError(f"max_failures must be -1 (no limit), 0 or more, not {max_failures!r}.")
    if not isinstance(fail_fast, bool) and str(fail_fast).lower() != "raise":
        raise UsageError(f"fail_fast must be True, False or 'raise', not {fail_fast!r}.")
    if fail_fast and max_failures:
        raise UsageError("fail_fast and max_failures exclude each other. Remove one of them.")


@dataclass
class RunConfig:
    """Options of a run.

    Args:
        name: The experiment's directory name. Default: the trainable's name with date and time.
        storage_path: The directory of all experiments, on the shared filesystem. Default: TUNE_RESULT_DIR, else
            ``~/hpctune_results``.
        storage_filesystem: A filesystem of fsspec or pyarrow; then ``storage_path`` is the place of the copies on it.
        failure_config, checkpoint_config, sync_config: See those classes.
        verbose: 0 (silent), 1 (the status in a few lines), 2 (with tables), 3 (and every result); None: 2.
        stop: A dict of thresholds, a Stopper, a function (trial_id, result) -> bool, or a list of these.
        callbacks: Objects that are called in the driver at each event of a trial. The default loggers are added.
        progress_reporter: A reporter that prints the progress.
        log_to_file: Names of the trials' stdout and stderr files: True, one name for both, or a pair.
        local_dir: The older name of ``storage_path``.
        share_with_group: The group of the experiment's directory may read it (not the pickled code). Default: only you
            can read it.
    """

    name: str | None = None
    storage_path: str | os.PathLike[str] | None = None
    storage_filesystem: Any | None = None
    failure_config: FailureConfig | None = None
    checkpoint_config: CheckpointConfig | None = None
    sync_config: SyncConfig | None = None
    verbose: int | None = None
    stop: Mapping[str, Any] | Stopper | Callable[[str, Mapping[str, Any]], bool] | None = None
    callbacks: Sequence[Callback | str] | None = None
    progress_reporter: Any | None = None
    log_to_file: bool | str | tuple[str, str] = False
    local_dir: str | os.PathLike[str] | None = None
    share_with_group: bool = False

    def __post_init__(self) -> None:
        if self.failure_config is not None and not isinstance(self.failure_config, FailureConfig):
            raise UsageError(f"failure_config must be a FailureConfig, not {self.failure_config!r}.")
        self.checkpoint_config = CheckpointConfig.parse(self.checkpoint_config)
