"""Cancelling an experiment's jobs without a driver: they are found by their tags, and cancelled by the cluster."""

from __future__ import annotations

from collections.abc import Collection

from hpctune.cluster.choice import reopen_cluster
from hpctune.cluster.pool.cluster import PooledCluster
from hpctune.core.state import ExperimentState
from hpctune.driver.clock import WallClock
from hpctune.ports import NO_DEMAND
from hpctune.storage.layout import ExperimentPaths


def cancel_jobs(paths: ExperimentPaths, state: ExperimentState, trial_ids: Collection[str]) -> int:
    """Cancel the jobs of these trials (no id given: of all trials), and return their number.

    Raises ClusterUnavailableError if the cluster does not answer.
    """
    spec = state.spec
    choice = reopen_cluster(spec.cluster, spec.cluster_options)
    cluster = choice.build(paths.root, spec.experiment_id, WallClock())
    try:
        if isinstance(cluster, PooledCluster) and not trial_ids:
            cluster.jobs()
            cluster.demand(NO_DEMAND)  # workers exit after their trials
        live = [j for j in cluster.jobs() if not j.state.final and (not trial_ids or j.tag.trial_id in trial_ids)]
        if live:
            cluster.cancel([j.job_id for j in live])
        return len(live)
    finally:
        cluster.close()
