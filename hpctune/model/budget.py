"""The budget of an experiment: how many hours of CPUs, GPUs, nodes or billing units its jobs may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpctune.errors import UsageError
from hpctune.model.usage import Amounts

GPU, CPU, NODE, BILLING = "gpuh", "cpuh", "nodeh", "billing"
UNITS = {GPU: "GPU hours", CPU: "CPU hours", NODE: "node hours", BILLING: "billing hours"}
WARN_SHARE = 0.8
"""The user is warned once when this share of the budget is used."""
_TEXT = re.compile(r"(?P<amount>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-z]+)")


@dataclass(frozen=True, slots=True)
class Billing:
    """How a partition bills (its ``TRESBillingWeights``).

    ``weights``: billing units per CPU (``cpu``), MiB of memory (``mem``), GPU (``gres/gpu``) and node (``node``).
    ``memory_mib_per_cpu``: what a job gets that asks for no memory. ``highest``: only the largest product counts
    (``PriorityFlags=MAX_TRES``), not the sum.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: {"cpu": 1.0})
    memory_mib_per_cpu: float = 0.0
    highest: bool = False

    def rate(self, amounts: Amounts, memory_mib: float) -> float:
        """Billing units of a job. ``memory_mib``: what it asks for; 0: nothing."""
        memory = memory_mib or self.memory_mib_per_cpu * amounts.cpus
        of = {"cpu": amounts.cpus, "mem": memory, "gres/gpu": amounts.gpus, "node": amounts.nodes}
        products = [weight * of[name] for name, weight in self.weights.items() if name in of]
        return max(products, default=0.0) if self.highest else sum(products)


@dataclass(frozen=True, slots=True)
class Budget:
    """``amount`` hours of ``unit``, one of UNITS. ``billing``: for billing units, how they are computed."""

    amount: float
    unit: str
    billing: Billing | None = None

    @classmethod
    def parse(cls, given: object) -> Budget | None:
        """Read text such as ``200gpuh``, ``5000 cpuh``, ``40nodeh`` or ``1000billing``; None stays None.

        Raises UsageError for anything else.
        """
        if given is None or isinstance(given, Budget):
            return given
        found = _TEXT.fullmatch(given.strip().lower()) if isinstance(given, str) else None
        if found is None or found["unit"] not in UNITS or not 0 < float(found["amount"]) < math.inf:
            units = ", ".join(f"{unit} ({words})" for unit, words in UNITS.items())
            raise UsageError(
                f"budget={given!r} is not a budget. Give a number above 0 and a unit, such as '200gpuh'. "
                f"Units are: {units}."
            )
        return cls(float(found["amount"]), found["unit"])

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Budget | None:
        """Read what ``dataclasses.asdict`` made of a budget."""
        if data is None:
            return None
        billing = data.get("billing")
        return cls(data["amount"], data["unit"], Billing(**billing) if billing else None)

    def rate(self, amounts: Amounts, memory_mib: float = 0.0) -> float:
        """How much of the budget a job with these resources uses in an hour."""
        if self.unit == BILLING:
            return (self.billing or Billing()).rate(amounts, memory_mib)
        return {GPU: amounts.gpus, CPU: amounts.cpus, NODE: amounts.nodes}[self.unit]

    def describe(self) -> str:
        """Such as "200 GPU hours"."""
        return f"{self.amount:g} {UNITS[self.unit]}"

    def words(self, held: float) -> str:
        """Such as "12.3 of 200 GPU hours held (6%)"."""
        return f"{held:.4g} of {self.describe()} held ({held / self.amount:.0%})"

    def warned(self, held: float) -> bool:
        """Whether so much is used that the user is warned."""
        return held >= WARN_SHARE * self.amount
