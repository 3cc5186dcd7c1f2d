"""What would happen: checks before an experiment is made, and the text of a dry run. Nothing is written."""

from __future__ import annotations

import copy
from typing import Any

from hpctune.core import evolve
from hpctune.core.state import ExperimentState
from hpctune.driver.clock import WallClock
from hpctune.driver.perform import Performer
from hpctune.driver.setup import DriverSetup, TrialNamer
from hpctune.errors import ClusterUnavailableError
from hpctune.model.ids import trial_id
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Trial
from hpctune.ports import Cluster
from hpctune.search import SearcherPolicy, SearchPolicy, Suggestion
from hpctune.space import experiment_tag
from hpctune.storage.layout import ExperimentPaths

SHOWN = 5
"""How many configurations a dry run shows."""
_LONGEST_CELL = 24


def check_request(spec: ExperimentSpec, setup: DriverSetup, paths: ExperimentPaths, cluster: Cluster) -> None:
    """Find what can be found wrong with a request before anything is made of it; ``paths``: where it would be.

    Raises SearchSpaceError for a space that cannot be searched, UsageError for impossible resources or names,
    RequestRejectedError where the cluster could never run such a trial. A cluster that does not answer is no error.
    """
    resources = _first_resources(spec, setup, paths)
    try:
        cluster.check(resources)
    except ClusterUnavailableError:
        return  # the driver asks again, as often as it takes


def _first_resources(spec: ExperimentSpec, setup: DriverSetup, paths: ExperimentPaths) -> Resources:
    """The request of the first trial; where only a searcher with a life of its own could tell, a guess."""
    bind = _copied(setup.bind_search)
    policy = bind(spec.num_samples, spec.seed) if bind is not None else None
    if policy is None or isinstance(policy, SearcherPolicy):  # a suggestion may cost something, or be counted elsewhere
        return Resources() if callable(setup.resources) else Resources.parse(setup.resources)
    identity = trial_id(spec.experiment_id, 0)
    first = policy.suggest(0, identity)
    if not isinstance(first, Suggestion):
        return setup.resources_for({})
    return TrialNamer(paths, spec, setup, experiment_tag)(0, identity, first).resources


def _copied(value: Any) -> Any:
    """A copy, so that the experiment's own searcher starts afresh; None of what cannot be copied."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return None


def _policy(spec: ExperimentSpec, setup: DriverSetup) -> SearchPolicy:
    """The searcher, bound to the space: a copy of it where that can be made."""
    bind = _copied(setup.bind_search) or setup.bind_search
    return bind(spec.num_samples, spec.seed)


def first_trials(spec: ExperimentSpec, setup: DriverSetup, paths: ExperimentPaths, count: int) -> list[Trial]:
    """The first trials, at most ``count``, as they would be."""
    policy = _policy(spec, setup)
    namer = TrialNamer(paths, spec, setup, experiment_tag)
    trials = []
    for index in range(count):
        identity = trial_id(spec.experiment_id, index)
        suggestion = policy.suggest(index, identity)
        if not isinstance(suggestion, Suggestion):
            break
        trials.append(evolve.add(namer(index, identity, suggestion), 0.0))
    return trials


def dry_run_text(spec: ExperimentSpec, setup: DriverSetup, paths: ExperimentPaths, cluster: Cluster) -> str:
    """Everything that would happen, in words: where, how many trials, with which configurations, as which jobs."""
    trials = first_trials(spec, setup, paths, SHOWN)
    total = _policy(spec, setup).total
    many = "without end" if spec.num_samples == -1 else "up to the searcher" if total is None else str(total)
    limits = [f"at most {spec.max_concurrent} at a time"] if spec.max_concurrent else []
    limits += [f"for at most {spec.time_budget_s:g} s"] if spec.time_budget_s else []
    lines = [
        "Dry run: nothing is written, nothing is submitted.",
        f"Experiment: {paths.root}",
        f"Trainable:  {spec.trainable}",
        f"Cluster:    {cluster.name}",
        f"Trials:     {', '.join([many, *limits])}",
    ]
    if trials:
        lines += [f"Resources:  {trials[0].resources.describe()} a trial", "", *_table(trials)]
        state = ExperimentState(spec)
        performer = Performer(paths, state, cluster, WallClock(), dict(setup.env))
        lines += ["", f"Job of {trials[0].name}:", cluster.preview(performer.request_for(trials[0])).rstrip()]
    return "\n".join(lines)


def _table(trials: list[Trial]) -> list[str]:
    names = list(dict.fromkeys(name for trial in trials for name in trial.evaluated))
    rows = [["trial", *names], *([t.trial_id, *(_cell(t.evaluated.get(n)) for n in names)] for t in trials)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [f"First {len(trials)} configuration{'s' * (len(trials) != 1)}:", *(f"  {line}" for line in lines)]


def _cell(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 3] + "..."
