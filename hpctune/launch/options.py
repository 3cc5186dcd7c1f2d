"""``RunOptions``: the options of ``run``, ``run_experiments`` and ``Tuner`` besides the experiments themselves."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hpctune.common.checks import check_flag, check_port, checked_objectives
from hpctune.errors import UsageError
from hpctune.output.display.reporters import ProgressReporter
from hpctune.run_config import DEPRECATED, FailureConfig

if TYPE_CHECKING:
    from hpctune.cluster.options import LocalOptions, SlurmOptions
    from hpctune.cluster.ssh.options import SshOptions
    from hpctune.output.callback import Callback
    from hpctune.ports import Cluster
    from hpctune.schedulers.base import SchedulerPolicy
    from hpctune.search import SearchAlgorithm, Searcher
    from hpctune.tune_config import ResumeConfig

DEFAULT_VERBOSE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a run, checked. :func:`hpctune.run` explains them.

    Raises:
        UsageError: for an invalid value.
    """

    metric: str | Sequence[str] | None = None
    mode: str | Sequence[str] | None = None
    search_alg: Searcher | SearchAlgorithm | str | None = None
    scheduler: SchedulerPolicy | str | None = None
    max_concurrent: int | None = None
    failure: FailureConfig = field(default_factory=FailureConfig)
    resume: bool | str | None = None
    resume_config: ResumeConfig | None = None
    callbacks: Sequence[Callback | str] | None = None
    verbose: int | None = None
    reporter: ProgressReporter | None = None
    reuse_actors: bool | None = False
    workers: int | str | None = None
    cluster: str | SlurmOptions | LocalOptions | SshOptions | Cluster | None = None
    slurm: SlurmOptions | Mapping[str, Any] | None = None
    chdir_to_trial_dir: bool | str | None = DEPRECATED
    share_with_group: bool = False
    server_port: int | None = None

    def __post_init__(self) -> None:
        checked_objectives(self.metric, self.mode)
        check_flag("share_with_group", self.share_with_group)
        if self.server_port is not None:
            check_port(self.server_port)
        if self.reuse_actors is not None:
            check_flag("reuse_actors", self.reuse_actors)
        if self.chdir_to_trial_dir not in (DEPRECATED, None):
            check_flag("chdir_to_trial_dir", self.chdir_to_trial_dir)
        if not isinstance(self.callbacks, (list, tuple, type(None))):
            raise UsageError(f"callbacks must be a list, not {self.callbacks!r}.")
        if self.reporter is not None and not isinstance(self.reporter, ProgressReporter):
            raise UsageError(f"progress_reporter must be an instance of a ProgressReporter, not {self.reporter!r}.")

    @property
    def objectives(self) -> tuple[tuple[str | None, str | None], ...]:
        """Each metric with its mode. Only the first may be None."""
        return checked_objectives(self.metric, self.mode)

    def with_own_policies(self) -> RunOptions:
        """The same options with copies of searcher and scheduler, so that experiments do not share them."""
        searcher, scheduler = copy.deepcopy((self.search_alg, self.scheduler))
        return replace(self, search_alg=searcher, scheduler=scheduler)
