"""Workstations as the driver of a search sees them: whether each can be reached, and what it has."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.cluster.ssh.cluster import SshCluster
from hpctune.cluster.ssh.options import SshOptions
from hpctune.common.text import count, size
from hpctune.ports import Clock
from hpctune.site.findings import Advice, Check

_AREA = "Workstations"
_LITTLE = 2_000_000_000
"""Bytes that should be free for the files of jobs."""


def judge_machines(hosts: Sequence[str], python: str | None, clock: Clock) -> Advice:
    """Connect to each machine, and say what it offers or what is missing. Leaves nothing there."""
    with tempfile.TemporaryDirectory(prefix="hpctune-doctor-") as directory:
        options = SshOptions(hosts=list(hosts), python=python)
        cluster = SshCluster(Path(directory), uuid.uuid4().hex[:8], options, clock)
        try:
            found = cluster.facts()
        finally:
            cluster.close()
    usable = any(not isinstance(facts, str) for facts in found.values())
    return Advice(tuple(_judge(name, facts, usable) for name, facts in found.items()))


def _judge(name: str, facts: Mapping[str, Any] | str, others: bool) -> Check:
    if isinstance(facts, str):
        meaning = "Trials would run on the other machines." if others else "No trial could run."
        return Check(_AREA, "warn" if others else "fail", f"{name}: {facts}", meaning)
    text = (
        f"{name}: {count(facts['cpus'], 'CPU')} and {count(len(facts['gpus']), 'GPU')} for trials; "
        f"{facts['interpreter']} with hpctune {facts['version']}; {size(facts['free'])} free in "
        f"{Path(facts['directory']).parent}"
    )
    if facts["free"] < _LITTLE:
        return Check(_AREA, "warn", text, "Checkpoints may not fit. Another directory: SshOptions(directory=...).")
    return Check(_AREA, "ok", text)
