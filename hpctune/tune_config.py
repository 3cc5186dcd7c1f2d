"""``TuneConfig`` and ``ResumeConfig``: the options of a search, and what a resume does with each kind of trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from hpctune.errors import UsageError
from hpctune.run_config import DEPRECATED

if TYPE_CHECKING:
    from hpctune.schedulers.base import SchedulerPolicy
    from hpctune.search import SearchAlgorithm, Searcher
    from hpctune.trial import Trial


@dataclass
class TuneConfig:
    """Options of a search.

    Args:
        mode: "min" or "max"; of several metrics one for all, or a list with one for each.
        metric: The name of the reported value to optimize, or a list of names: then the best is a Pareto front.
        search_alg: A Searcher or search algorithm, or its name. Default: random and grid search.
        scheduler: A scheduler, which decides which trials go on, or its name. Default: all do, first come, first
            served.
        num_samples: The number of samples of the search space (default 1); -1: no limit.
        max_concurrent_trials: How many trials may have a job at a time; None or 0: no limit.
        time_budget_s: Seconds (or a timedelta) of driven time, over all drivers, after which the experiment stops.
        budget: How many hours the jobs may hold: "200gpuh", "5000cpuh", "40nodeh" or "1000billing". No new trial starts
            that could pass it.
        reuse_actors: Jobs stay and run one trial after another, as many as there is room for.
        trial_name_creator, trial_dirname_creator: Functions from a Trial to its name; and to its directory's name.
        chdir_to_trial_dir: Trials run in their own directories (default). False: in the start directory of the driver.

    ``Tuner.fit`` checks the values.
    """

    mode: str | Sequence[str] | None = None
    metric: str | Sequence[str] | None = None
    search_alg: Searcher | SearchAlgorithm | str | None = None
    scheduler: SchedulerPolicy | str | None = None
    num_samples: int = 1
    max_concurrent_trials: int | None = None
    time_budget_s: float | timedelta | None = None
    reuse_actors: bool | None = False
    trial_name_creator: Callable[[Trial], str] | None = None
    trial_dirname_creator: Callable[[Trial], str] | None = None
    chdir_to_trial_dir: bool | str = DEPRECATED
    budget: str | None = None


class ResumeType(str, Enum):
    """What a resume does with a trial: skip it, resume it from its newest checkpoint, restart it from scratch."""

    SKIP = "skip"
    RESUME = "resume"
    RESTART = "restart"


@dataclass
class ResumeConfig:
    """What a resume does with finished, unfinished and errored trials: each "skip", "resume" or "restart".

    Raises:
        UsageError: for anything else.
    """

    finished: Any = ResumeType.SKIP
    unfinished: Any = ResumeType.RESUME
    errored: Any = ResumeType.SKIP

    ResumeType = ResumeType

    def __post_init__(self) -> None:
        for name in ("finished", "unfinished", "errored"):
            value = getattr(self, name)
            try:
                setattr(self, name, ResumeType(value))
            except ValueError:
                raise UsageError(
                    f"ResumeConfig({name}=...) must be 'skip', 'resume' or 'restart', not {value!r}."
                ) from None
