"""Completes a budget in billing units: asks Slurm how the partition bills."""

from __future__ import annotations

import time
from dataclasses import replace

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm import billing
from hpctune.cluster.slurm.call_budget import CallBudget
from hpctune.cluster.slurm.commands import SlurmCommands
from hpctune.errors import UsageError
from hpctune.launch.prepared import PreparedExperiment
from hpctune.model.budget import BILLING


def with_billing(prepared: PreparedExperiment) -> PreparedExperiment:
    """The experiment with the billing weights of its partition, if its budget needs them.

    Raises UsageError if there is no Slurm or no such partition, ClusterUnavailableError if Slurm does not answer.
    """
    budget, spec = prepared.spec.budget, prepared.spec
    if budget is None or budget.unit != BILLING:
        return prepared
    if spec.cluster != "slurm":
        raise UsageError(
            f"A budget of {budget.describe()} needs Slurm, and the cluster is {spec.cluster!r}. Give the budget as "
            "GPU, CPU or node hours: 200gpuh, 5000cpuh, 40nodeh."
        )
    options = SlurmOptions.from_mapping(dict(spec.cluster_options))
    commands = SlurmCommands(CallBudget(None, time.time), options.timeout_s, options.clusters)
    partitions = commands.ask("scontrol", billing.PARTITION_ARGUMENTS)
    found = billing.parse(partitions, commands.ask("scontrol", billing.CONFIG_ARGUMENTS), options.partition)
    if found is None:
        raise UsageError(
            f"A budget of {budget.describe()} needs the billing weights of the partition, and scontrol shows no "
            f"{f'partition {options.partition!r}' if options.partition else 'default partition'}. See: scontrol show "
            "partition"
        )
    return replace(prepared, spec=replace(spec, budget=replace(budget, billing=found)))
