"""The sbatch defaults of a user's profile (``SBATCH_*``)."""

from __future__ import annotations

import pytest

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm import profile
from hpctune.errors import UsageError


def made(environ: dict[str, str], **options: object) -> SlurmOptions:
    return profile.with_profile(SlurmOptions(**options), environ)  # type: ignore[arg-type]


def test_a_default_holds_where_no_option_is_given() -> None:
    environ = {"SBATCH_ACCOUNT": "a", "SBATCH_TIMELIMIT": "2:00:00", "SBATCH_QOS": "", "SLURM_PARTITION": "x"}
    assert made(environ) == SlurmOptions(account="a", time="2:00:00")
    assert made(environ, account="b", time=5) == SlurmOptions(account="b", time=5)


def test_memory_has_three_forms_that_exclude_each_other() -> None:
    assert made({"SBATCH_MEM_PER_NODE": "8G"}) == SlurmOptions(mem="8G")
    assert made({"SBATCH_MEM_PER_CPU": "1G"}, mem="2G") == SlurmOptions(mem="2G")
    assert made({"SBATCH_MEM_PER_NODE": "8G"}, mem_per_gpu="2G") == SlurmOptions(mem_per_gpu="2G")


def test_other_words_of_sbatch_are_passed_on() -> None:
    environ = {"SBATCH_HINT": "nomultithread", "SBATCH_DISTRIBUTION": "block"}
    assert made(environ, additional_parameters={"distribution": "cyclic"}) == SlurmOptions(
        additional_parameters={"distribution": "cyclic", "hint": "nomultithread"}
    )
    assert made({"SBATCH_NO_REQUEUE": "1"}).requeue is False
    assert made({"SBATCH_REQUEUE": ""}, requeue=False).requeue is False
    assert made({"SBATCH_EXCLUSIVE": "user"}).exclusive == "user"
    assert made({"SBATCH_EXCLUSIVE": "1"}).exclusive is True


def test_an_impossible_value_names_its_variable() -> None:
    with pytest.raises(UsageError, match=r"SBATCH_TIMELIMIT in your environment: time='soon'.*Or unset it"):
        made({"SBATCH_TIMELIMIT": "soon"})


def test_what_the_trial_or_hpctune_decides_is_told() -> None:
    environ = {"SBATCH_GRES": "gpu:1", "SBATCH_OUTPUT": "x", "SBATCH_QOS": "q", "SBATCH_DEBUG": "1", "PATH": "/bin"}
    assert profile.without_effect(environ) == ["SBATCH_GRES", "SBATCH_OUTPUT"]
    told = profile.about(["SBATCH_GRES", "SBATCH_OUTPUT"])
    assert "SBATCH_GRES, SBATCH_OUTPUT" in told
    assert "resources_per_trial" in told
    assert "resources_per_trial" not in profile.about(["SBATCH_OUTPUT"])
    assert profile.in_use(environ) == {"SBATCH_QOS": "q"}


def test_the_drivers_own_job_takes_where_but_not_how_much() -> None:
    environ = {"SBATCH_PARTITION": "p", "SBATCH_TIMELIMIT": "5", "SBATCH_MEM_PER_NODE": "1G"}
    assert profile.driver_defaults(environ) == {"partition": "p"}
