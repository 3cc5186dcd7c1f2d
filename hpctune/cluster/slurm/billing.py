"""How a partition bills its jobs, from ``scontrol show partition`` and ``scontrol show config``. Pure."""

from __future__ import annotations

import re

from hpctune.model.budget import Billing

PARTITION_ARGUMENTS = ("--oneliner", "show", "partition")
CONFIG_ARGUMENTS = ("show", "config")
_PER_MIB = {"": 1.0, "K": 1024.0, "M": 1.0, "G": 1 / 1024, "T": 1 / 1024**2, "P": 1 / 1024**3}
_WEIGHT = re.compile(r"(-?[\d.]+)([KMGTP]?)")


def parse(partitions: str, config: str, wanted: str | None) -> Billing | None:
    """How the partition ``wanted`` bills (None: the default one; of several with commas: the first).

    Without weights, a CPU is a billing unit, as in Slurm. None if there is no such partition.
    """
    first = wanted.split(",")[0] if wanted else None
    for line in partitions.splitlines():
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        if fields.get("PartitionName") == first or (first is None and fields.get("Default") == "YES"):
            flags = re.search(r"^PriorityFlags\s*=\s*(\S*)", config, re.MULTILINE)
            return Billing(
                _weights(fields.get("TRESBillingWeights", "")) or {"cpu": 1.0},
                float(fields.get("DefMemPerCPU", "0")) if fields.get("DefMemPerCPU", "0").isdigit() else 0.0,
                flags is not None and "MAX_TRES" in flags[1].upper(),
            )
    return None


def _weights(text: str) -> dict[str, float]:
    """The weights in text such as ``CPU=1.0,Mem=0.25G,GRES/gpu=2.0``. A unit is one of memory."""
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        read = _WEIGHT.fullmatch(value.strip())
        if read is not None:
            found[name.strip().lower()] = float(read[1]) * _PER_MIB[read[2]]
    return found
