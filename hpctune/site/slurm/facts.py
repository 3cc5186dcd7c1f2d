"""Facts from Slurm, by few calls, each of them counted."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpctune.cluster.slurm.commands import Answer, SlurmCommands
from hpctune.cluster.slurm.sinfo import ARGUMENTS, NodeGroup, parse
from hpctune.errors import ClusterUnavailableError

TOOLS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun", "sacct")
_ASSOC = ("account", "partition", "qos", "defaultqos", "maxjobs", "maxsubmit", "grpsubmit", "grpjobs")
_QOS = ("name", "priority", "maxwall", "maxjobspu", "maxsubmitpu", "grpsubmit", "gracetime", "preemptmode")


@dataclass(frozen=True, slots=True)
class Call:
    """One command that was run. ``rc`` None: no answer in time."""

    words: str
    seconds: float
    rc: int | None


class Asker:
    """Runs Slurm's commands, and notes each."""

    def __init__(self, commands: SlurmCommands) -> None:
        self._commands = commands
        self.calls: list[Call] = []

    def ask(self, program: str, *arguments: str) -> Answer:
        """The output of a command. A missing program gives exit code 127."""
        began = time.monotonic()
        try:
            answer = self._commands.run("query", program, arguments)
        except ClusterUnavailableError as error:
            return Answer(127, "", str(error))
        shown = " ".join([program, *(a for a in arguments if a.isprintable())])
        self.calls.append(Call(shown, time.monotonic() - began, answer.rc))
        return answer


@dataclass(frozen=True, slots=True)
class Partition:
    """``limit``: its longest time, as Slurm writes it."""

    name: str
    default: bool
    state: str
    limit: str
    preempt: str
    grace_s: int
    nodes: int


@dataclass(frozen=True, slots=True)
class SlurmFacts:
    """``ping_s``: how long one call took; None if slurmctld did not answer, ``trouble``: its words. ``config``: as
    ``scontrol show config`` has it. ``assocs`` and ``qos``: rows of sacctmgr, empty without slurmdbd. ``queued``: the
    user's jobs in the queue."""

    tools: Mapping[str, str | None]
    version: str = ""
    ping_s: float | None = None
    trouble: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    partitions: Sequence[Partition] = ()
    groups: Sequence[NodeGroup] = ()
    assocs: Sequence[Mapping[str, str]] = ()
    qos: Sequence[Mapping[str, str]] = ()
    accounting_trouble: str = ""
    queued: int = 0

    @property
    def accounting(self) -> bool:
        """Whether the site has an accounting database, as its configuration says."""
        return "slurmdbd" in self.config.get("AccountingStorageType", "")

    @property
    def usable(self) -> bool:
        """Whether a job can be submitted."""
        return self.ping_s is not None and self.tools.get("sbatch") is not None


def gather(asker: Asker) -> SlurmFacts:
    """Ask everything that can be asked; at most nine calls."""
    tools = {name: shutil.which(name, path=os.environ.get("PATH")) for name in TOOLS}
    if tools["scontrol"] is None and tools["sinfo"] is None:
        return SlurmFacts(tools, trouble="neither scontrol nor sinfo is on PATH")
    version = asker.ask("sinfo" if tools["scontrol"] is None else "scontrol", "--version").out.strip()
    shown = asker.ask("scontrol", "show", "config")
    if shown.rc != 0:
        why = "it did not answer in time" if shown.rc is None else shown.words
        return SlurmFacts(tools, version, trouble=why)
    config = parse_config(shown.out)
    ping_s = asker.calls[-1].seconds
    groups = parse(asker.ask("sinfo", *ARGUMENTS).out)
    found = parse_partitions(asker.ask("scontrol", "--oneliner", "show", "partition").out)
    queued = len(asker.ask("squeue", "--noheader", "--array", f"--user={os.geteuid()}", "--format=%i").out.split())
    facts = SlurmFacts(tools, version, ping_s, "", config, found, groups, queued=queued)
    if not facts.accounting:
        return facts
    assocs = asker.ask("sacctmgr", "-nP", "show", "assoc", f"user={user_name()}", f"format={','.join(_ASSOC)}")
    qos = asker.ask("sacctmgr", "-nP", "show", "qos", f"format={','.join(_QOS)}")
    trouble = next((a.words or "no answer" for a in (assocs, qos) if a.rc != 0), "")
    return SlurmFacts(
        tools, version, ping_s, "", config, found, groups,
        parse_rows(assocs.out, _ASSOC), parse_rows(qos.out, _QOS), trouble, queued,
    )  # fmt: skip


def user_name() -> str:
    """The accounting database's records of this user."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return os.environ.get("USER", str(os.geteuid()))


def parse_config(text: str) -> dict[str, str]:
    """``Name = value`` lines."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def parse_partitions(text: str) -> list[Partition]:
    """The lines of ``scontrol --oneliner show partition``."""
    return [_partition(fields) for line in text.splitlines() if (fields := _fields(line)).get("PartitionName")]


def _fields(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def _partition(fields: Mapping[str, str]) -> Partition:
    def number(name: str) -> int:
        text = fields.get(name, "0")
        return int(text) if text.isdigit() else 0

    return Partition(
        name=fields["PartitionName"],
        default=fields.get("Default") == "YES",
        state=fields.get("State", "?"),
        limit=fields.get("MaxTime", "?"),
        preempt=fields.get("PreemptMode", "OFF"),
        grace_s=number("GraceTime"),
        nodes=number("TotalNodes"),
    )


def parse_rows(text: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of ``sacctmgr -nP``."""
    rows = (line.split("|") for line in text.splitlines() if line.strip())
    return [dict(zip(columns, row, strict=False)) for row in rows]


def leading_number(text: str) -> int | None:
    """The number that a value such as ``300 sec`` starts with."""
    found = re.match(r"\s*(\d+)", text)
    return int(found[1]) if found else None
