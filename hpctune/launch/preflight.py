"""Checks whether an experiment can run before it is stored, and makes the text of a dry run. Writes nothing."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from hpctune.common.loopback import check_free
from hpctune.common.text import count, number, shorten, size, table
from hpctune.core import evolve
from hpctune.core.policies import Policies
from hpctune.core.state import ExperimentState
from hpctune.driver.clock import WallClock
from hpctune.driver.perform import Performer
from hpctune.driver.setup import SearchBinding, TrialNamer
from hpctune.errors import ClusterUnavailableError, TrainableError, UsageError
from hpctune.launch import driver_chain
from hpctune.launch.driver_chain import DriverJobRequest
from hpctune.launch.prepared import PreparedExperiment
from hpctune.mirror.mirror import check_unoccupied
from hpctune.mirror.target import check_place
from hpctune.model.ids import trial_id
from hpctune.model.resources import Resources
from hpctune.model.trial import Trial
from hpctune.ports import Cluster
from hpctune.schedulers.base import FIFOScheduler
from hpctune.search import BasicVariantGenerator, ConcurrencyLimiter, SearcherPolicy, SearchPolicy, Suggestion
from hpctune.search.adapters.library import LibrarySearcher
from hpctune.space import experiment_tag, has_unresolved
from hpctune.usercode.project import Project
from hpctune.worker import Command

T = TypeVar("T")

SHOWN = 5
"""Number of configurations that a dry run shows."""
CHECKED = 20
"""Number of configurations that are checked, if they can be known before results are."""
_MAX_CELL = 24


def preflight(prepared: PreparedExperiment) -> None:
    """Check an experiment before it is stored.

    The user's functions of a configuration (sample_from, resources, names, mutations) are called, with copies of
    searcher and scheduler. Raises SearchSpaceError for a space that cannot be searched or points that are not in it,
    UsageError for impossible resources or names, RequestRejectedError if the cluster could never run such a trial. It
    is not an error if the cluster does not answer, because the driver queries it again.
    """
    policy = _copied_policy(prepared)
    if isinstance(policy, SearcherPolicy):
        policy = _stand_in(policy, prepared)
    scheduler: Any = _copied(prepared.setup.scheduler)
    binding = prepared.setup.bind_search
    if hasattr(scheduler, "check_space") and isinstance(binding, SearchBinding):
        scheduler.check_space(binding.space)
    trials = [] if policy is None else _first_trials(prepared, policy, CHECKED)
    if hasattr(scheduler, "check_config") and trials:
        scheduler.check_config(trials[0].config)
    if prepared.setup.mirror is not None:
        check_place(prepared.setup.mirror, prepared.paths.root)
        check_unoccupied(prepared.setup.mirror, prepared.paths.root)
    if prepared.spec.server_port is not None:
        check_free(prepared.spec.server_port, "server_port")
    _check_command(prepared.trainable, trials)
    with _cluster(prepared) as cluster:
        _check(cluster, prepared, trials)


def dry_run(prepared: PreparedExperiment, driver_job: DriverJobRequest | None = None) -> str:
    """Check as :func:`preflight` does, and describe what would happen: directory, trials, configurations, jobs."""
    policy = _copied_policy(prepared) or prepared.setup.bind_search(prepared.spec.num_samples, prepared.spec.seed)
    total = policy.total
    trials = _first_trials(prepared, policy, SHOWN)
    _check_command(prepared.trainable, trials)
    with _cluster(prepared) as cluster:
        _check(cluster, prepared, trials)
        lines = [*_summary(prepared, total), *_described(prepared, trials, cluster)]
    if driver_job is not None:
        script = driver_chain.preview(prepared.paths, prepared.spec, driver_job)
        lines += ["", "Job of the driver:", script.rstrip()]
    return "\n".join(lines)


@contextlib.contextmanager
def _cluster(prepared: PreparedExperiment) -> Iterator[Cluster]:
    cluster = prepared.cluster.build(prepared.paths.root, prepared.spec.experiment_id, WallClock())
    try:
        yield cluster
    finally:
        if prepared.cluster.made is None:
            cluster.close()


def _check_command(trainable: Any, trials: Sequence[Trial]) -> None:
    """Raise UsageError if no trial can fill in the fields of a command. Parameters that only some trials have are left
    to the run."""
    wrong: list[TrainableError] = []
    for trial in trials if isinstance(trainable, Command) else ():
        try:
            trainable.check_fields(trial.config)
        except TrainableError as error:
            wrong.append(error)
    if wrong and len(wrong) == len(trials):
        raise UsageError(str(wrong[0]))


def _check(cluster: Cluster, prepared: PreparedExperiment, trials: list[Trial]) -> None:
    """Let the cluster check the trials' requests; a request of one CPU if no trial is known."""
    given = prepared.setup.resources
    requests = [trial.resources for trial in trials] or [Resources() if callable(given) else Resources.parse(given)]
    with contextlib.suppress(ClusterUnavailableError):
        for resources in {repr(each): each for each in requests}.values():
            cluster.check(resources)


def _copied_policy(prepared: PreparedExperiment) -> SearchPolicy | None:
    """A copy of the searcher, bound to the space; None if it cannot be copied.

    The experiment's own searcher stays unused.
    """
    bind = _copied(prepared.setup.bind_search)
    return None if bind is None else bind(prepared.spec.num_samples, prepared.spec.seed)


def _copied(made: T) -> T | None:
    try:
        return copy.deepcopy(made)
    except Exception:
        return None


def _stand_in(policy: SearcherPolicy, prepared: PreparedExperiment) -> SearchPolicy | None:
    """Random search of the same space, if the searcher's configurations are of that space; else None.

    The searcher itself is not asked: a suggestion may be expensive, or may have side effects.
    """
    binding, searcher = prepared.setup.bind_search, policy.searcher
    while isinstance(searcher, ConcurrencyLimiter):
        searcher = searcher.searcher
    if not isinstance(searcher, LibrarySearcher) or not isinstance(binding, SearchBinding):
        return None
    return BasicVariantGenerator().bind(binding.space, 1, prepared.spec.seed) if has_unresolved(binding.space) else None


def _first_trials(prepared: PreparedExperiment, policy: SearchPolicy, wanted: int) -> list[Trial]:
    """The first trials that the experiment would have, at most ``wanted``."""
    namer = TrialNamer(prepared.paths, prepared.spec, prepared.setup, experiment_tag)
    policies = Policies(policy, _copied(prepared.setup.scheduler) or FIFOScheduler())
    trials = []
    for index in range(wanted):
        identity = trial_id(prepared.spec.experiment_id, index)
        suggestion = policy.suggest(index, identity)
        if not isinstance(suggestion, Suggestion):
            break
        trials.append(evolve.add(namer(index, identity, policies.completed(index, suggestion)), 0.0))
    return trials


def _summary(prepared: PreparedExperiment, total: int | None) -> list[str]:
    spec = prepared.spec
    many = "no limit" if spec.num_samples == -1 else "decided by the searcher" if total is None else str(total)
    limits = [f"at most {spec.max_concurrent} at a time"] if spec.max_concurrent else []
    limits += [f"for at most {spec.time_budget_s:g} s"] if spec.time_budget_s else []
    limits += [f"within {spec.budget.describe()}"] if spec.budget else []
    project = prepared.project
    brought = (
        [f"Brings:     {count(len(project.files), 'file')}, {size(project.bytes)}, of {project.root} to each job"]
        if isinstance(project, Project) and project.files
        else []
    )
    return [
        "Dry run: nothing is written, nothing is submitted.",
        f"Experiment: {prepared.paths.root}",
        f"Trainable:  {spec.trainable}",
        f"Cluster:    {prepared.cluster.name}",
        *brought,
        f"Trials:     {', '.join([many, *limits])}",
    ]


def _described(prepared: PreparedExperiment, trials: list[Trial], cluster: Cluster) -> list[str]:
    """Resources and configurations of the first trials, and the job of the first."""
    if not trials:
        return []
    names = list(dict.fromkeys(name for trial in trials for name in trial.evaluated))
    rows = [[t.trial_id, *(shorten(number(t.evaluated.get(n)), _MAX_CELL) for n in names)] for t in trials]
    performer = Performer(
        prepared.paths, ExperimentState(prepared.spec), cluster, WallClock(), dict(prepared.setup.env)
    )
    return [
        f"Resources:  {trials[0].resources.describe()} a trial",
        "",
        f"First {len(trials)} configuration{'s' * (len(trials) != 1)}:",
        *table(["trial", *names], rows, indent="  "),
        "",
        f"Job of {trials[0].name}:",
        cluster.preview(performer.request_for(trials[0])).rstrip(),
    ]
