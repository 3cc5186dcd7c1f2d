"""Asks Slurm's accounting about the jobs of an experiment, once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from hpctune.errors import ClusterUnavailableError
from hpctune.model.spec import ExperimentSpec
from hpctune.model.usage import JobAccount
from hpctune.storage.layout import ExperimentPaths

_ANSWER_S = 120.0
"""Seconds that sacct may take: a database of years is slow."""
_CLOCK_S = 60.0
"""By how many seconds the clocks of the database and of this machine may differ."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of an experiment's jobs; ``why_not``: why there are none ("" if Slurm was asked and answered)."""

    jobs: list[JobAccount] = field(default_factory=list)
    why_not: str = ""


OWN_RECORDS = Accounts(why_not="Slurm was not asked")
"""For a look that must be quick."""


def ask(paths: ExperimentPaths, spec: ExperimentSpec, job_ids: Collection[str]) -> Accounts:
    """The accounts of the experiment's jobs, by one call of sacct about all jobs of its owner since its start."""
    from hpctune.cluster.options import SlurmOptions
    from hpctune.cluster.slurm import accounting
    from hpctune.cluster.slurm.call_budget import CallBudget
    from hpctune.cluster.slurm.commands import SlurmCommands

    if spec.cluster != "slurm":
        return Accounts(why_not="its jobs do not run on Slurm")
    if shutil.which("sacct") is None:
        return Accounts(why_not="sacct is not on PATH here")
    options = SlurmOptions.from_mapping(dict(spec.cluster_options))
    since = spec.created_at - _CLOCK_S
    commands = SlurmCommands(CallBudget(None, time.time), _ANSWER_S, options.clusters)
    try:
        answer = commands.ask("sacct", accounting.arguments(paths.spec.stat().st_uid, since))
    except ClusterUnavailableError as error:
        return Accounts(why_not=str(error))
    return Accounts(accounting.parse(answer, job_ids, str(paths.jobs), spec.experiment_id, since))
