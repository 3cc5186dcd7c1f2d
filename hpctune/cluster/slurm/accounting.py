"""Slurm's accounting of the jobs of one experiment: the arguments of one sacct call, and a parser of its answer. Pure.

``sacct.py`` asks about a single job. Here the call is for all jobs of a user since a time: so it also shows the jobs of
which the experiment's own records know nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from hpctune.cluster.slurm.gres import gpus
from hpctune.cluster.slurm.squeue import leader, state
from hpctune.model.jobs import JobState
from hpctune.model.usage import Amounts, JobAccount

_FIELD = "\x1f"
_COLUMNS = (
    *("JobID", "Partition", "Account", "User", "Start", "End", "ElapsedRaw", "State", "AllocTRES", "ReqTRES"),
    *("TotalCPU", "Comment", "SubmitLine"),
)
_REQUEUED = "REQUEUED"


def arguments(uid: int, since: float) -> list[str]:
    """Arguments of sacct for all jobs of user ``uid`` since ``since`` (Unix seconds), each start of each of them."""
    begin = datetime.fromtimestamp(since).strftime("%Y-%m-%dT%H:%M:%S")
    form = ["--noheader", "--parsable2", f"--delimiter={_FIELD}", f"--format={','.join(_COLUMNS)}"]
    return [*form, "--duplicates", f"--uid={uid}", f"--starttime={begin}"]


def parse(text: str, job_ids: Collection[str], folder: str, experiment_id: str, since: float = 0.0) -> list[JobAccount]:
    """The starts of the experiment's jobs in sacct's answer, oldest first.

    A job is the experiment's if its id is one of ``job_ids``, its script is in ``folder``, or its comment is a tag of
    the experiment. Starts before ``since`` are of other jobs: ids are used again. Lines of steps are left out.
    """
    found = []
    for line in text.splitlines():
        values = line.split(_FIELD)
        if len(values) != len(_COLUMNS) or "." in values[0]:
            continue
        values[0] = leader(values[0])
        own = values[0] in job_ids or f" {folder}/" in values[12] or f":{experiment_id}" in values[11]
        account = _account(values) if own else None
        if account is not None and account.begin >= since:
            found.append(account)
    return sorted(found, key=lambda each: each.begin)


def _account(values: list[str]) -> JobAccount | None:
    """One line; None for a job that has not begun."""
    job_id, partition, account, user, start, end, elapsed, word, held, asked, used, *_ = values
    if not start.isdigit():
        return None
    over = end.isdigit() and state(word) not in (JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING)
    seconds = float(elapsed or 0)
    return JobAccount(
        job_id,
        partition,
        account,
        user,
        float(start),
        float(end) if over else None,
        seconds,
        JobState.PREEMPTED if word.startswith(_REQUEUED) else state(word),
        amounts(asked) if asked else amounts(held),
        amounts(held),
        cpu_seconds(used) if over else None,
    )


def amounts(tres: str) -> Amounts:
    """The resources in text such as ``billing=3,cpu=3,gres/gpu=2,mem=1500M,node=1``."""
    words = dict(part.split("=", 1) for part in tres.split(",") if "=" in part)
    typed = [f"gpu:{name.rpartition(':')[2]}:{value}" for name, value in words.items() if name.startswith("gres/gpu:")]
    number_of_gpus = float(words["gres/gpu"]) if "gres/gpu" in words else float(gpus(",".join(typed))[""])
    billing = float(words["billing"]) if "billing" in words else None
    return Amounts(float(words.get("cpu", 0)), number_of_gpus, float(words.get("node", 0)), billing)


def cpu_seconds(text: str) -> float | None:
    """Seconds of ``1-02:03:04`` or ``03:04.250``; None for anything else."""
    days, _, clock = text.rpartition("-")
    try:
        total = 0.0
        for part in clock.split(":"):
            total = total * 60 + float(part)
        return total + 86400 * int(days or 0)
    except ValueError:
        return None
