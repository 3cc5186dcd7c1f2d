"""The complete check of a site, in parts: the findings of each part are available as soon as it is done."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from hpctune.cluster.local.machine import cpu_count, gpu_ids
from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.call_budget import CallBudget
from hpctune.cluster.slurm.commands import SlurmCommands
from hpctune.errors import StorageError
from hpctune.ports import Clock
from hpctune.site.findings import Advice, Check
from hpctune.site.machines import judge_machines
from hpctune.site.node import job as nodejob, program as nodeprogram
from hpctune.site.node.facts import NodeFacts
from hpctune.site.slurm.checks import chosen, judge_slurm, politeness
from hpctune.site.slurm.facts import Asker, SlurmFacts, gather
from hpctune.site.storage import facts as storagefacts, pingpong
from hpctune.site.storage.checks import judge_storage

CALLS_PER_MINUTE = 30
ANSWER_S = 30.0
JOB_MINUTES = 10
OTHERS = ("torch", "tensorflow", "jax", "scikit-learn", "lightning", "xgboost", "lightgbm", "transformers")
"""Packages besides hpctune's own whose versions matter if they are installed."""
LEAKS = ("SLURM_HPCTUNE_DOCTOR", "SBATCH_HPCTUNE_DOCTOR")
"""Set here while the job is submitted; they must not arrive."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be examined. ``pending_s``: how long the test job may wait in the queue. ``python``: the interpreter's
    command on nodes; None: this one. ``hosts``: machines that are reached by ssh, in place of Slurm."""

    slurm: bool
    directory: Path
    partition: str | None = None
    account: str | None = None
    job: bool = True
    gpu: bool = False
    pending_s: float = 120.0
    python: str | None = None
    hosts: tuple[str, ...] = ()


def examine(question: Question, clock: Clock, say: Callable[[str], None]) -> Generator[Advice, None, None]:
    """Run the checks part by part. ``say`` gets the current step. Leaves no file and no job behind."""
    if question.hosts:
        say("connecting")
        yield judge_machines(question.hosts, question.python, clock)
        yield from _storage(replace(question, job=False), None, clock, say)
        return
    if not question.slurm:
        yield _this_machine()
        yield from _storage(question, None, clock, say)
        return
    commands = SlurmCommands(CallBudget(CALLS_PER_MINUTE, clock.now), ANSWER_S)
    asker = Asker(commands)
    say("asking Slurm")
    facts = gather(asker)
    yield from _environment()
    yield from judge_slurm(facts, question.partition, question.account)
    yield from _storage(question, facts, clock, say)
    yield politeness(asker.calls)


def _this_machine() -> Advice:
    gpus = len(gpu_ids(os.environ))
    return Advice((Check("This machine", "ok", f"{cpu_count()} CPUs and {gpus} GPUs for trials"),))


def _environment() -> Iterator[Advice]:
    job = os.environ.get("SLURM_JOB_ID")
    if job:
        meaning = "None of its variables reach your trials."
        yield Advice((Check("Slurm", "info", f"this shell is inside job {job}", meaning),))


def _storage(
    question: Question, slurm: SlurmFacts | None, clock: Clock, say: Callable[[str], None]
) -> Iterator[Advice]:
    """The directory, here and on a node. ``slurm`` None: this machine is the node."""
    say(f"trying out {question.directory}")
    try:
        with nodejob.scratch_in(question.directory) as folder:
            yield judge_storage(storagefacts.gather(folder), shared=question.slurm)
            if question.job and (slurm is None or slurm.usable):
                yield from _job(question, folder, slurm, clock, say)
    except StorageError as error:
        facts = storagefacts.StorageFacts(question.directory, trouble=str(error))
        yield judge_storage(facts, shared=question.slurm)


def _job(
    question: Question, folder: Path, slurm: SlurmFacts | None, clock: Clock, say: Callable[[str], None]
) -> Iterator[Advice]:
    say("looking at Python here")
    here = NodeFacts.from_json(nodeprogram.facts(folder, packages(), []))
    program = pingpong.set_up(folder, packages(), LEAKS)
    with pingpong.Locks(folder):
        if slurm is None:
            yield from nodejob.local_job(folder, program, question.python, here, say)
            return
        options = SlurmOptions(
            partition=question.partition,
            account=question.account,
            time=job_minutes(slurm, question.partition),
            python=question.python,
        )
        job = nodejob.SlurmJob(folder, options, clock, question.pending_s, int(question.gpu), say)
        with contextlib.ExitStack() as stack:
            for name in LEAKS:
                stack.callback(os.environ.pop, name, None)
                os.environ[name] = "1"
            yield from job.run(program, here)
        found = f"{job.calls} calls of sbatch, squeue and scancel for the test job"
        yield Advice((Check("Calls made", "info", found),))


def job_minutes(slurm: SlurmFacts, partition: str | None) -> int:
    """The time limit of the test job: what the partition allows may be less than what is good."""
    names = {p.name for p in chosen(slurm, partition)}
    limits = [g.limit_minutes for g in slurm.groups if g.partition in names and g.limit_minutes]
    return min([JOB_MINUTES, *limits])


def packages() -> list[str]:
    """What hpctune needs, and what trials often use."""
    try:
        needed = metadata.requires("hpctune") or []
    except metadata.PackageNotFoundError:
        needed = []
    own = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed if "extra ==" not in text]
    return [*own, *OTHERS]
