"""Interpretation of Slurm's answers for hpctune. Pure: from facts to findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hpctune.site.findings import Advice, Check, Mark, Setting, seconds
from hpctune.site.slurm.facts import Call, Partition, SlurmFacts, leading_number

SLUGGISH_S, SLOW_S = 1.0, 5.0
USUAL_MAX_SUBMITTED = 200
_NEEDED = ("sbatch", "squeue", "scancel", "sinfo")
_WHAT_FOR = {
    "sbatch": "submits the jobs",
    "squeue": "shows where they are",
    "scancel": "ends them",
    "sinfo": "shows what there is",
    "srun": "runs the trial in its job (else: --sbatch, SlurmOptions(use_srun=False))",
    "scontrol": "tells this check about the site; hpctune itself never needs it",
    "sacct": "is never needed",
}


@dataclass(slots=True)
class _Notes:
    area: str
    checks: list[Check] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)

    def say(self, mark: Mark, found: str, meaning: str = "") -> None:
        self.checks.append(Check(self.area, mark, found, meaning))

    def set(self, name: str, value: object, why: str) -> None:
        self.settings.append(Setting(name, value, why))

    def advice(self) -> Advice:
        return Advice(tuple(self.checks), tuple(self.settings))


def judge_slurm(facts: SlurmFacts, partition: str | None, account: str | None) -> Iterator[Advice]:
    """Everything about Slurm. ``partition`` and ``account``: those that jobs are to have."""
    yield tools(facts)
    if facts.ping_s is None:
        return
    yield latency(facts)
    yield accounting(facts, account)
    yield which_partition(facts, partition)
    yield limits(facts)
    yield ends_of_jobs(facts, partition)
    yield gpus(facts, partition)


def tools(facts: SlurmFacts) -> Advice:
    """Commands, and whether the controller answers."""
    notes = _Notes("Slurm")
    there = [name for name, path in facts.tools.items() if path is not None]
    if there:
        notes.say("ok", f"{facts.version or 'Slurm'}; on PATH: {', '.join(there)}")
    for name, path in facts.tools.items():
        if path is None:
            notes.say("fail" if name in _NEEDED else "warn", f"{name} is not on PATH", f"It {_WHAT_FOR[name]}.")
    if facts.trouble:
        remedy = (
            "Is this a login node? Often 'module load slurm' is needed. Without Slurm: hpctune doctor --cluster local"
        )
        notes.say("fail", f"slurmctld does not answer: {facts.trouble}", remedy)
    return notes.advice()


def latency(facts: SlurmFacts) -> Advice:
    """How quickly the controller answers."""
    notes = _Notes("Slurm")
    took = facts.ping_s or 0.0
    found = f"slurmctld answers in {seconds(took)}"
    if took < SLUGGISH_S:
        notes.say("ok", found)
        return notes.advice()
    mark: Mark = "warn"
    notes.say(mark, found, "It is busy. hpctune asks once for all jobs, and less often with the settings below.")
    notes.set("quiet_poll_s", 120.0 if took >= SLOW_S else 60.0, "the controller is slow")
    notes.set("calls_per_minute", 20 if took >= SLOW_S else 30, "the controller is slow")
    if took >= SLOW_S:
        notes.set("timeout_s", 180.0, "an answer may take minutes")
    return notes.advice()


def accounting(facts: SlurmFacts, account: str | None) -> Advice:
    """Whether there is an accounting database, and what it enforces."""
    notes = _Notes("Slurm")
    if not facts.accounting:
        notes.say(
            "ok", "no accounting database", "None is needed: states come from squeue and from the trials' own files."
        )
        return notes.advice()
    if facts.accounting_trouble:
        what = f"the accounting database does not answer: {facts.accounting_trouble}"
        notes.say("warn", what, "hpctune does without it; limits of your account are not known here.")
        return notes.advice()
    accounts = sorted({row["account"] for row in facts.assocs if row.get("account")})
    enforced = facts.config.get("AccountingStorageEnforce", "none")
    notes.say("ok", f"accounting by slurmdbd; your accounts: {', '.join(accounts) or 'none'}; enforced: {enforced}")
    if "associations" in enforced and not accounts:
        notes.say("fail", "you have no account, and this site requires one", "Ask an administrator for an association.")
    if account is not None and accounts and account not in accounts:
        notes.say("fail", f"{account!r} is not one of your accounts", f"Choose one of: {', '.join(accounts)}.")
    elif account is None and len(accounts) > 1:
        notes.say("info", "several accounts", "Jobs are charged to your default one unless you say which: -A NAME.")
    return notes.advice()


def which_partition(facts: SlurmFacts, wanted: str | None) -> Advice:
    """Where jobs would go."""
    notes = _Notes("Partitions")
    for p in facts.partitions:
        star = ", the default" if p.default else ""
        notes.say(
            "info" if p.state == "UP" else "warn",
            f"{p.name}{star}: {p.state.lower()}, {p.nodes} nodes, at most {p.limit}",
        )
    known = {p.name: p for p in facts.partitions}
    names = ", ".join(known) or "none"
    if wanted is not None:
        for name in wanted.split(","):
            if name not in known:
                notes.say("fail", f"there is no partition {name!r}", f"There are: {names}.")
            elif known[name].state != "UP":
                notes.say("warn", f"{name} takes no jobs now ({known[name].state.lower()})", "Jobs will wait.")
    elif not any(p.default for p in facts.partitions):
        notes.say("fail", "no partition is the default", f"Say which one with -p. There are: {names}.")
    for p in chosen(facts, wanted):
        if p.limit not in ("UNLIMITED", "?"):
            notes.set("time", p.limit, f"{p.name} allows no more; shorter jobs start sooner")
    if wanted is not None and all(name in known for name in wanted.split(",")):
        notes.set("partition", wanted, "as asked for")
    return notes.advice()


def chosen(facts: SlurmFacts, wanted: str | None) -> list[Partition]:
    """The partitions that jobs would go to."""
    if wanted is None:
        return [p for p in facts.partitions if p.default]
    return [p for p in facts.partitions if p.name in wanted.split(",")]


def limits(facts: SlurmFacts) -> Advice:
    """How many jobs there may be, and for how long they are remembered."""
    notes = _Notes("Limits")
    config = facts.config
    total = leading_number(config.get("MaxJobCount", ""))
    array = leading_number(config.get("MaxArraySize", ""))
    notes.say("info", f"MaxJobCount {total}, MaxArraySize {array}: trials submitted together are elements of an array")
    most, whose = submit_limit(facts)
    if most is not None:
        free = max(1, most - facts.queued)
        found = f"at most {most} of your jobs at a time ({whose}); {facts.queued} are there now"
        if free < USUAL_MAX_SUBMITTED:
            value = max(1, free * 4 // 5)
            notes.say("warn", found, "When Slurm refuses one, hpctune waits and goes on; better stay below the limit.")
            notes.set("max_submitted", value, f"the limit is {most}, and other jobs of yours count too")
        else:
            notes.say("ok", found)
    elif facts.queued:
        notes.say("info", f"{facts.queued} jobs of yours are in the queue")
    age = leading_number(config.get("MinJobAge", ""))
    if age is not None and age < 90:
        notes.say(
            "warn", f"ended jobs are forgotten after {age} s (MinJobAge)",
            "A driver that is away for longer tells how a trial ended from the trial's own files only.",
        )  # fmt: skip
        notes.set("quiet_poll_s", float(max(2, min(30, age // 3))), "ended jobs are forgotten soon")
    elif age is not None:
        notes.say("ok", f"ended jobs are remembered for {age} s (MinJobAge)")
    return notes.advice()


def submit_limit(facts: SlurmFacts) -> tuple[int | None, str]:
    """The least of the limits on submitted jobs, and which one that is."""
    found: list[tuple[int, str]] = []
    for row in facts.assocs:
        for name in ("maxsubmit", "grpsubmit"):
            if (row.get(name) or "").isdigit():
                found.append((int(row[name]), f"{name} of account {row.get('account', '?')}"))
    used = {q for row in facts.assocs for q in (row.get("defaultqos") or row.get("qos") or "").split(",") if q}
    for row in facts.qos:
        for name in ("maxsubmitpu", "grpsubmit"):
            if row.get("name") in used and (row.get(name) or "").isdigit():
                found.append((int(row[name]), f"{name} of QOS {row['name']}"))
    return min(found) if found else (None, "")


def ends_of_jobs(facts: SlurmFacts, wanted: str | None) -> Advice:
    """Preemption, requeues, lost nodes: how much time a trial has, and what becomes of its job."""
    notes = _Notes("Ends of jobs")
    config = facts.config
    kill_s = leading_number(config.get("KillWait", "")) or 30
    notes.say(
        "info", f"{kill_s} s from SIGTERM to SIGKILL (KillWait): a checkpoint that takes longer is not finished then"
    )
    if config.get("JobRequeue", "1") == "0":
        notes.say("info", "jobs are not requeued here (JobRequeue=0)", "hpctune submits a new job; nothing is lost.")
    else:
        notes.say(
            "ok", "interrupted jobs are requeued", "They go on from their newest checkpoint, with the same job id."
        )
    preempting = [p for p in chosen(facts, wanted) if p.preempt not in ("OFF", "GANG", "?")]
    for p in preempting if config.get("PreemptType", "preempt/none") != "preempt/none" else ():
        grace = f"{p.grace_s} s notice" if p.grace_s else "without notice"
        found = f"jobs in {p.name} can be preempted ({p.preempt.lower()}), {grace}"
        notes.say("warn" if p.grace_s < 5 else "info", found, "Save checkpoints at reports; no failure is counted.")
    down = leading_number(config.get("SlurmdTimeout", ""))
    if down is not None:
        what = "its trials go on elsewhere then" if down else "jobs of a lost node are never given up by themselves"
        notes.say(
            "info" if down else "warn",
            f"a lost node is noticed after {down} s (SlurmdTimeout)",
            f"{what.capitalize()}.",
        )
    return notes.advice()


def gpus(facts: SlurmFacts, wanted: str | None) -> Advice:
    """What GPUs there are."""
    notes = _Notes("GPUs")
    with_gpus = [g for g in facts.groups if g.gpus.get("", 0)]
    if not with_gpus:
        notes.say("info", "no node has GPUs (GRES)")
        return notes.advice()
    for name in dict.fromkeys(g.partition for g in with_gpus):
        kinds = sorted({f"{n} x {k or 'gpu'}" for g in with_gpus if g.partition == name for k, n in _kinds(g.gpus)})
        nodes = sum(g.nodes for g in with_gpus if g.partition == name)
        notes.say("info", f"{name}: {nodes} nodes with {' or '.join(kinds)}")
    places = {p.name for p in chosen(facts, wanted)}
    if places and not places & {g.partition for g in with_gpus}:
        others = ", ".join(dict.fromkeys(g.partition for g in with_gpus))
        notes.say("info", f"{', '.join(sorted(places))} has none", f"For trials with GPUs: -p {others.split(', ')[0]}.")
    return notes.advice()


def _kinds(found: dict[str, int]) -> list[tuple[str, int]]:
    typed = [(kind, n) for kind, n in found.items() if kind]
    return typed or [("", found.get("", 0))]


def politeness(calls: list[Call]) -> Advice:
    """What this check asked of Slurm."""
    notes = _Notes("Calls made")
    for call in calls:
        said = "no answer" if call.rc is None else f"exit code {call.rc}, " if call.rc else ""
        notes.say("info", f"{call.words} ({said}{seconds(call.seconds)})")
    return notes.advice()
