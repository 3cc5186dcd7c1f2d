"""Budgets: what users may write, and how billing units are computed."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from hpctune.cluster.slurm import billing
from hpctune.errors import UsageError
from hpctune.model.budget import Billing, Budget
from hpctune.model.usage import Amounts

JOB = Amounts(cpus=8, gpus=2, nodes=1)
PARTITIONS = """\
PartitionName=cpu Default=YES DefMemPerCPU=1000 TRES=cpu=64
PartitionName=gpu Default=NO DefMemPerCPU=UNLIMITED TRESBillingWeights=CPU=1.0,Mem=0.25G,GRES/gpu=20 TRES=cpu=64
"""


@pytest.mark.parametrize(
    ("text", "rate", "words"),
    [
        ("200gpuh", 2, "100 of 200 GPU hours held (50%)"),
        (" 200 CPUh", 8, "100 of 200 CPU hours held (50%)"),
        ("200nodeh", 1, "100 of 200 node hours held (50%)"),
        ("200.billing", 8, "100 of 200 billing hours held (50%)"),
    ],
)
def test_units(text: str, rate: float, words: str) -> None:
    budget = Budget.parse(text)
    assert budget is not None
    assert budget.rate(JOB) == rate
    assert budget.words(100.0) == words
    assert Budget.from_json(asdict(budget)) == Budget.parse(budget) == budget
    assert [budget.warned(held) for held in (159.9, 160.0)] == [False, True]


@pytest.mark.parametrize("given", ["200", "gpuh", "-1gpuh", "0gpuh", "1e9999gpuh", "2h", 200, True, ("1gpuh",)])
def test_what_is_no_budget(given: object) -> None:
    with pytest.raises(UsageError, match=r"is not a budget.*'200gpuh'.*billing"):
        Budget.parse(given)
    assert Budget.parse(None) is Budget.from_json(None) is None


def test_billing_weights_of_a_partition() -> None:
    default = billing.parse(PARTITIONS, "PriorityFlags           = \n", None)
    assert default == Billing({"cpu": 1.0}, 1000.0, False)
    gpu = billing.parse(PARTITIONS, "PriorityFlags           = MAX_TRES,NO_FAIR_TREE\n", "gpu,cpu")
    assert gpu == Billing({"cpu": 1.0, "mem": 0.25 / 1024, "gres/gpu": 20.0}, 0.0, True)
    assert billing.parse(PARTITIONS, "", "none") is None
    budget = Budget(100.0, "billing", Billing(gpu.weights))
    assert Budget.from_json(asdict(budget)) == budget
    assert budget.rate(JOB, memory_mib=16 * 1024) == 8 + 4 + 40
    assert gpu.rate(JOB, 0.0) == 40
    assert Billing({"mem": 0.001}, 1000.0).rate(JOB, 0.0) == 8
