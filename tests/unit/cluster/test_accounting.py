"""Slurm's accounting: what sacct answers, and what belongs to an experiment."""

from __future__ import annotations

import pytest

from hpctune.cluster.amounts import amounts_of, memory_mib
from hpctune.cluster.slurm import accounting
from hpctune.cluster.slurm.accounting import amounts, cpu_seconds
from hpctune.model.jobs import JobState
from hpctune.model.resources import Bundle, Resources
from hpctune.model.usage import Amounts, JobAccount

TRES = "billing=3,cpu=3,gres/gpu=2,gres/gpu:a100=2,mem=1500M,node=1"


def line(job: str, *, start: str = "1000", end: str = "1100", state: str = "COMPLETED", **more: str) -> str:
    return "\x1f".join(
        [
            job, "gpu", "physics", "ada", start, end, more.get("elapsed", "100"), state, TRES,
            more.get("asked", "cpu=2,node=1"), more.get("used", "00:01.500"), more.get("comment", ""),
            more.get("submit", "sbatch x.sh"),
        ]
    )  # fmt: skip


def parsed(*lines: str) -> list[JobAccount]:
    return accounting.parse("\n".join(lines) + "\n", {"7", "8_1"}, "/exp/jobs", "e1", since=500.0)


def test_an_account() -> None:
    (job,) = parsed(line("7"), line("7.batch"), line("7.0"))
    assert job == JobAccount(
        "7", "gpu", "physics", "ada", 1000.0, 1100.0, 100.0, JobState.COMPLETED, Amounts(2, 0, 1, None),
        Amounts(3, 2, 1, 3), 1.5,
    )  # fmt: skip


def test_which_jobs_are_of_the_experiment() -> None:
    found = parsed(
        line("8_1"), line("9"), line("10", submit="sbatch --parsable /exp/jobs/.1f.sh"),
        line("11", submit="sbatch /other/exp/jobs/.1f.sh"), line("12", comment="hpctune:e1:t1:1"),
        line("7", start="400"), line("7", start="Unknown"), "nonsense", "a comment\x1fwith few fields",
    )  # fmt: skip
    assert [job.job_id for job in found] == ["8_1", "10", "12"]


def test_the_parts_of_a_heterogeneous_job_count_for_it() -> None:
    found = parsed(line("7+0"), line("7+0.batch"), line("7+1", comment="hpctune-part:e1"), line("9+1"))
    assert [job.job_id for job in found] == ["7", "7"]


def test_states() -> None:
    running, requeued, cancelled = parsed(
        line("7", start="900", end="Unknown", state="RUNNING", elapsed="55"),
        line("7", start="901", end="950", state="REQUEUED", elapsed="49", asked=""),
        line("7", start="902", end="1200", state="CANCELLED by 0"),
    )
    assert (running.end, running.elapsed_s, running.used_cpu_s) == (None, 55.0, None)
    assert (requeued.state, requeued.end, requeued.asked) == (JobState.PREEMPTED, 950.0, requeued.held)
    assert cancelled.state is JobState.CANCELLED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:01.465", 1.465), ("01:02:03", 3723.0), ("1-00:00:01", 86401.0), ("", None), ("?", None)],
)
def test_cpu_time(text: str, seconds: float | None) -> None:
    assert cpu_seconds(text) == seconds


def test_gpus_by_type() -> None:
    assert amounts("cpu=1,gres/gpu:a100=2,gres/gpu:h100=1,node=1").gpus == 3
    assert amounts("") == Amounts()


def test_arguments_ask_for_every_start() -> None:
    words = accounting.arguments(1000, 0.0)
    assert {"--duplicates", "--uid=1000", "--parsable2"} <= set(words)


def test_what_a_job_will_hold() -> None:
    four = Resources((Bundle(2.0, 1.0, 2**30), Bundle(2.0, 1.0, 2**30)), "SPREAD")
    assert amounts_of(four, "slurm", {}) == Amounts(4, 2, 2)
    assert memory_mib(four, "slurm", {}) == 2048
    assert amounts_of(Resources(), "slurm", {"gres": "gpu:2", "cpus_per_task": 8}) == Amounts(8, 2, 1)
    assert amounts_of(Resources((Bundle(0.5, 0.25),)), "slurm", {}) == Amounts(0.5, 0.25, 1), "Slurm cannot express it"
    assert amounts_of(Resources((Bundle(0.5, 0.25),)), "local", {}) == Amounts(0.5, 0.25, 1)
    assert memory_mib(Resources(), "slurm", {"mem_per_cpu": "2G", "cpus_per_task": 3}) == 6144
    assert memory_mib(Resources(), "slurm", {"mem": "2G"}) == 2048
    assert memory_mib(Resources(), "slurm", {}) == memory_mib(Resources(), "local", {}) == 0
