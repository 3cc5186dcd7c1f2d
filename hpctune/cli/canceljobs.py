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
    """Cancel the jobs of these trials (no id given: of all trials), and return their number. A cluster that ends
    processes itself is given the time that it needs for that.

    Raises ClusterUnavailableError if the cluster does not answer.
    """
    spec = state.spec
    choice = reopen_cluster(spec.cluster, spec.cluster_options)
    clock = WallClock()
    cluster = choice.build(paths.root, spec.experiment_id, clock)
    try:
        if isinstance(cluster, PooledCluster) and not trial_ids:
            cluster.jobs()
            cluster.demand(NO_DEMAND)  # workers exit after their trials
        live = [j for j in cluster.jobs() if not j.state.final and (not trial_ids or j.tag.trial_id in trial_ids)]
        ids = {j.job_id for j in live}
        if ids:
            cluster.cancel(sorted(ids))
        until = clock.now() + getattr(cluster, "kills_within_s", 0.0)
        while ids and clock.now() < until and any(j.job_id in ids and not j.state.final for j in cluster.jobs()):
            clock.sleep(cluster.poll_s)
        return len(live)
    finally:
        cluster.close()
