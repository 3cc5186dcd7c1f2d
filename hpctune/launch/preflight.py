"""Checks whether an experiment can run before it is stored, and makes the text of a dry run. Writes nothing."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

from hpctune.common.text import number, shorten, table
from hpctune.core import evolve
from hpctune.core.state import ExperimentState
from hpctune.driver.clock import WallClock
from hpctune.driver.perform import Performer
from hpctune.driver.setup import TrialNamer
from hpctune.errors import ClusterUnavailableError
from hpctune.launch import driver_chain
from hpctune.launch.driver_chain import DriverJobRequest
from hpctune.launch.prepared import PreparedExperiment
from hpctune.model.ids import trial_id
from hpctune.model.resources import Resources
from hpctune.model.trial import Trial
from hpctune.ports import Cluster
from hpctune.search import SearcherPolicy, SearchPolicy, Suggestion
from hpctune.space import experiment_tag

SHOWN = 5
"""Number of configurations that a dry run shows."""
_MAX_CELL = 24


def preflight(prepared: PreparedExperiment) -> None:
    """Check an experiment before it is stored.

    Raises SearchSpaceError for a space that cannot be searched, UsageError for impossible resources or names,
    RequestRejectedError if the cluster could never run such a trial. It is not an error if the cluster does not answer,
    because the driver queries it again.
    """
    policy = _copied_policy(prepared)
    # A suggestion of a library's searcher may be expensive, or may have side effects.
    trials = [] if policy is None or isinstance(policy, SearcherPolicy) else _first_trials(prepared, policy, 1)
    with _cluster(prepared) as cluster:
        _check(cluster, prepared, trials)


def dry_run(prepared: PreparedExperiment, driver_job: DriverJobRequest | None = None) -> str:
    """Check as :func:`preflight` does, and describe what would happen: directory, trials, configurations, jobs."""
    policy = _copied_policy(prepared) or prepared.setup.bind_search(prepared.spec.num_samples, prepared.spec.seed)
    total = policy.total
    trials = _first_trials(prepared, policy, SHOWN)
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


def _check(cluster: Cluster, prepared: PreparedExperiment, trials: list[Trial]) -> None:
    """Let the cluster check the first trial's request; a request of one CPU if no trial is known."""
    given = prepared.setup.resources
    resources = trials[0].resources if trials else Resources() if callable(given) else Resources.parse(given)
    with contextlib.suppress(ClusterUnavailableError):
        cluster.check(resources)


def _copied_policy(prepared: PreparedExperiment) -> SearchPolicy | None:
    """A copy of the searcher, bound to the space; None if it cannot be copied.

    The experiment's own searcher stays unused.
    """
    try:
        bind = copy.deepcopy(prepared.setup.bind_search)
    except Exception:
        return None
    return bind(prepared.spec.num_samples, prepared.spec.seed)


def _first_trials(prepared: PreparedExperiment, policy: SearchPolicy, count: int) -> list[Trial]:
    """The first trials that the experiment would have, at most ``count``."""
    namer = TrialNamer(prepared.paths, prepared.spec, prepared.setup, experiment_tag)
    trials = []
    for index in range(count):
        identity = trial_id(prepared.spec.experiment_id, index)
        suggestion = policy.suggest(index, identity)
        if not isinstance(suggestion, Suggestion):
            break
        trials.append(evolve.add(namer(index, identity, suggestion), 0.0))
    return trials


def _summary(prepared: PreparedExperiment, total: int | None) -> list[str]:
    spec = prepared.spec
    many = "no limit" if spec.num_samples == -1 else "decided by the searcher" if total is None else str(total)
    limits = [f"at most {spec.max_concurrent} at a time"] if spec.max_concurrent else []
    limits += [f"for at most {spec.time_budget_s:g} s"] if spec.time_budget_s else []
    return [
        "Dry run: nothing is written, nothing is submitted.",
        f"Experiment: {prepared.paths.root}",
        f"Trainable:  {spec.trainable}",
        f"Cluster:    {prepared.cluster.name}",
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
