"""SlurmCluster against executables of ours that stand for Slurm's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hpctune.cluster.slurm import profile
from hpctune.cluster.slurm.cluster import SlurmCluster
from hpctune.cluster.slurm.repeated import ENOUGH
from hpctune.errors import ClusterUnavailableError, RequestRejectedError
from hpctune.model.jobs import Accepted, JobState, Refused, Unanswered
from hpctune.model.resources import Resources
from tests.support.slurm_lab import Clock, Slurm, cluster, request


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    made = Slurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm' / 'bin'}:{os.environ['PATH']}")
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


def line(job: int, state: str, trial: str = "t1") -> str:
    return "\x1e" + "\x1f".join((str(job), state, "None", "", "N/A", f"hpctune:e1:{trial}:1")) + "\n"


def test_an_accepted_job_leaves_its_script_and_tidy_removes_it(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "17\n")
    made = cluster(tmp_path, clock)
    assert made.submit([request(tmp_path)]) == [Accepted("17")]
    assert [p.name for p in (tmp_path / "exp" / "jobs").iterdir()] == ["17_submission.sh"]
    assert (tmp_path / "exp" / "trial1").is_dir()
    made.tidy(["17", "18", "../trial1"])
    assert list((tmp_path / "exp" / "jobs").iterdir()) == []


def test_a_limit_refuses_the_rest_unasked_and_backs_off(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "1\n")
    slurm.says("sbatch", err="sbatch: error: QOSMaxSubmitJobPerUserLimit", rc=1)
    made = cluster(tmp_path, clock, array=False)
    first, second, third = made.submit([request(tmp_path, n) for n in range(3)])
    assert first == Accepted("1")
    assert isinstance(second, Refused)
    assert not second.permanent
    assert "QOSMaxSubmitJobPerUserLimit" in second.reason
    assert isinstance(third, Refused)
    assert third.reason.startswith("Not submitted")
    assert len(slurm.calls) == 2
    assert made.room(Resources()) == 0
    clock.at += 15.1
    assert made.room(Resources()) > 0
    made.submit([request(tmp_path)])
    clock.at += 29
    assert made.room(Resources()) == 0
    clock.at += 2
    slurm.says("sbatch", "2\n")
    made.submit([request(tmp_path)])
    assert made.submit([request(tmp_path)]) == [Accepted("2")]
    assert made.room(Resources()) > 0
    assert not [p for p in (tmp_path / "exp" / "jobs").iterdir() if p.name.startswith(".")]


def test_permanent_refusals_do_not_stop_the_others(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", err="sbatch: error: Batch job submission failed: Invalid qos specification", rc=1)
    slurm.says("sbatch", "5\n")
    first, second, third = cluster(tmp_path, clock, array=False).submit(
        [request(tmp_path, 0), request(tmp_path, 1, {"gpu": 0.5}), request(tmp_path, 2)]
    )
    assert isinstance(first, Refused)
    assert isinstance(second, Refused)
    assert first.permanent
    assert second.permanent
    assert third == Accepted("5")


def test_an_unknown_partition_is_answered_with_those_there_are(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", err="sbatch: error: invalid partition specified: gpuu", rc=1)
    slurm.says("sinfo", "\x1f".join(("main*", "up", "infinite", "1", "4", "100", "(null)", "idle", "1:00", "1")) + "\n")
    (outcome,) = cluster(tmp_path, clock).submit([request(tmp_path)])
    assert isinstance(outcome, Refused)
    assert "Partitions here: main*." in outcome.reason


def test_a_hanging_sbatch_is_unanswered(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", err="sbatch: Slurm temporarily unable to accept job", hang=True)
    made = cluster(tmp_path, clock, timeout_s=1.0)
    (outcome,) = made.submit([request(tmp_path)])
    assert isinstance(outcome, Unanswered)
    assert "temporarily unable" in outcome.reason
    assert list((tmp_path / "exp" / "jobs").iterdir()) == []


def test_success_without_an_id_is_unanswered(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "Thank you!\n")
    (outcome,) = cluster(tmp_path, clock).submit([request(tmp_path)])
    assert isinstance(outcome, Unanswered)
    assert "Thank you!" in outcome.reason


def test_without_sbatch_nothing_was_submitted(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (outcome,) = cluster(tmp_path, clock).submit([request(tmp_path)])
    assert isinstance(outcome, Refused)
    assert "'sbatch' is not on PATH" in outcome.reason


def test_one_look_is_one_squeue_and_frees_room(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "7\n")
    slurm.says("squeue", line(7, "RUNNING"))
    slurm.says("squeue", line(7, "COMPLETED"))
    made = cluster(tmp_path, clock, max_submitted=2)
    made.submit([request(tmp_path)])
    assert made.room(Resources()) == 1
    assert [j.state for j in made.jobs()] == [JobState.RUNNING]
    assert made.room(Resources()) == 1
    assert [j.state for j in made.jobs()] == [JobState.COMPLETED]
    assert made.room(Resources()) == 2
    assert [name for name, _, _ in slurm.calls] == ["sbatch", "squeue", "squeue"]
    assert made.stats().total == 3


@pytest.mark.parametrize("how", [{"rc": 1, "err": "slurm_load_jobs error: Unable to contact"}, {"out": "Maintenance!"}])
def test_a_failed_look_is_not_an_empty_queue(slurm: Slurm, tmp_path: Path, clock: Clock, how: dict[str, Any]) -> None:
    slurm.says("squeue", **how)
    with pytest.raises(ClusterUnavailableError, match=r"Unable to contact|Maintenance!"):
        cluster(tmp_path, clock).jobs()


def test_a_hanging_squeue_is_not_an_empty_queue(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("squeue", out=line(1, "RUNNING"), hang=True)
    with pytest.raises(ClusterUnavailableError, match="no answer within 1 s"):
        cluster(tmp_path, clock, timeout_s=1.0).jobs()


def test_cancel_asks_in_hundreds_and_forgives_what_is_over(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("scancel", err="scancel: error: Kill job error on job id 3: Invalid job id specified", rc=1)
    cluster(tmp_path, clock).cancel([*map(str, range(250)), "249", "local-x", "--user=root"])
    assert [len(arguments) for _, arguments, _ in slurm.calls] == [100, 100, 50]


def test_cancel_reports_what_it_could_not_do(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    gone = "scancel: error: Kill job error on job id 1: Invalid job id specified\n"
    slurm.says("scancel", err=gone + "scancel: error: Kill job error on job id 2: Unable to contact controller", rc=1)
    with pytest.raises(ClusterUnavailableError, match="job id 2: Unable") as caught:
        cluster(tmp_path, clock).cancel(["1", "2"])
    assert "job id 1" not in str(caught.value)


def test_the_budget_defers_without_asking(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "1\n")
    made = cluster(tmp_path, clock, calls_per_minute=6, array=False)
    outcomes = made.submit([request(tmp_path, n) for n in range(6)])
    assert [type(o) for o in outcomes] == [Accepted] * 4 + [Refused] * 2
    assert made.room(Resources()) == 0
    made.jobs()
    with pytest.raises(ClusterUnavailableError, match="budget"):
        made.jobs()
    made.cancel(["1"])
    assert len(slurm.calls) == 6
    assert made.stats().deferred == 2
    clock.at += 61
    assert made.room(Resources()) == 4


def test_commands_see_nothing_of_a_surrounding_job(
    slurm: Slurm, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SBATCH_PARTITION", "SQUEUE_FORMAT", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SLURM_CONF", "/the/conf")
    slurm.says("sbatch", "1\n")
    made = cluster(tmp_path, clock)
    made.submit([request(tmp_path)])
    made.jobs()
    made.cancel(["1"])
    for _, _, environ in slurm.calls:
        left = {k for k in environ if k.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "CUDA_"))}
        assert left - {"SLURM_TIME_FORMAT"} == {"SLURM_CONF"}
    assert "#SBATCH --partition=7" in made.preview(request(tmp_path))


SINFO = "\x1f".join(("main*", "up", "infinite", "1", "4", "1000", "(null)", "{state}", "1:00:00", "1-infinite")) + "\n"
NO_NODE = "allocation failure: Requested node configuration is not available"


def test_check_asks_once_for_each_kind(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", SINFO.format(state="idle"))
    made = cluster(tmp_path, clock)
    for _ in range(3):
        made.check(Resources.parse({"cpu": 1}))
        made.check(Resources.parse({"cpu": 2}))
    assert [name for name, _, _ in slurm.calls] == ["sinfo", "sbatch", "sbatch"]
    assert slurm.calls[1][1][0] == "--test-only"


def test_check_believes_slurm_when_nodes_are_up(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", SINFO.format(state="mixed"))
    slurm.says("sbatch", err=NO_NODE, rc=1)
    with pytest.raises(RequestRejectedError, match="Requested node configuration is not available"):
        cluster(tmp_path, clock).check(Resources())


def test_check_does_not_believe_slurm_when_all_nodes_are_down(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", SINFO.format(state="drained"))
    slurm.says("sbatch", err=NO_NODE, rc=1)
    cluster(tmp_path, clock).check(Resources())


def test_check_lets_pass_what_may_change(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", SINFO.format(state="idle"))
    slurm.says("sbatch", err="sbatch: error: AssocMaxSubmitJobLimit", rc=1)
    cluster(tmp_path, clock).check(Resources())


def test_check_says_when_slurm_does_not_answer(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", err="slurm_load_partitions: Unable to contact slurm controller (connect failure)", rc=1)
    with pytest.raises(ClusterUnavailableError, match="Unable to contact"):
        cluster(tmp_path, clock).check(Resources())
    with pytest.raises(RequestRejectedError, match="shard"):
        cluster(tmp_path, clock).check(Resources.parse({"gpu": 0.5}))


PARTITIONS = "\n".join(
    "\x1f".join(row)
    for row in [
        ("main*", "up", "infinite", "1", "4", "1000", "(null)", "idle", "1:00:00", "1-infinite"),
        ("short", "{up}", "5:00", "1", "4", "1000", "(null)", "idle", "1:00", "1-infinite"),
    ]
)
NOT_NOW = "sbatch: error: Batch job submission failed: Requested partition configuration not available now"


def test_several_partitions_are_checked_together_with_the_time(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", PARTITIONS.format(up="up"))
    slurm.says("scontrol", "EnforcePartLimits       = ALL\n")
    with pytest.raises(RequestRejectedError, match=r"short allows 00:05:00, not a time limit of 01:00:00.*--time"):
        cluster(tmp_path, clock, partition="main,short").check(Resources())
    cluster(tmp_path, clock, partition="main,short", time=5).check(Resources())


def test_a_site_that_needs_one_fitting_partition_only(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", PARTITIONS.format(up="up"))
    slurm.says("scontrol", "EnforcePartLimits       = ANY\n")
    cluster(tmp_path, clock, partition="main,short").check(Resources())


def refused(made: SlurmCluster, tmp_path: Path, times: int) -> list[Refused]:
    outcomes = []
    for _ in range(times):
        (outcome,) = made.submit([request(tmp_path)])
        assert isinstance(outcome, Refused)
        outcomes.append(outcome)
    return outcomes


def test_the_same_unclear_refusal_again_and_again_is_permanent(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", PARTITIONS.format(up="up"))
    slurm.says("sbatch", err=NOT_NOW, rc=1)
    outcomes = refused(cluster(tmp_path, clock, partition="main,short"), tmp_path, ENOUGH)
    assert [o.permanent for o in outcomes] == [False] * (ENOUGH - 1) + [True]
    assert "Requested partition configuration not available now" in outcomes[-1].reason
    assert "with partition=main,short" in outcomes[-1].reason
    assert "short allows 00:05:00, not a time limit of 01:00:00, the default of main" in outcomes[-1].reason
    assert "set --time" in outcomes[-1].reason


def test_an_unclear_refusal_is_not_permanent_while_a_partition_is_down(
    slurm: Slurm, tmp_path: Path, clock: Clock
) -> None:
    slurm.says("sinfo", PARTITIONS.format(up="down"))
    slurm.says("sbatch", err=NOT_NOW, rc=1)
    outcomes = refused(cluster(tmp_path, clock, partition="main,short", time=5), tmp_path, 2 * ENOUGH)
    assert not any(o.permanent for o in outcomes)


def test_what_was_accepted_once_is_never_given_up(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", PARTITIONS.format(up="up"))
    slurm.says("sbatch", "7\n")
    slurm.says("sbatch", err=NOT_NOW, rc=1)
    made = cluster(tmp_path, clock)
    assert made.submit([request(tmp_path)]) == [Accepted("7")]
    assert not any(o.permanent for o in refused(made, tmp_path, 2 * ENOUGH))


def test_other_words_in_between_begin_the_count_anew(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sinfo", PARTITIONS.format(up="up"))
    for _ in range(ENOUGH - 1):
        slurm.says("sbatch", err=NOT_NOW, rc=1)
    slurm.says("sbatch", err="sbatch: error: Something new", rc=1)
    slurm.says("sbatch", err=NOT_NOW, rc=1)
    assert not any(o.permanent for o in refused(cluster(tmp_path, clock), tmp_path, 2 * ENOUGH - 1))


def test_variables_of_the_profile_hold_or_are_told(
    slurm: Slurm, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slurm.says("sinfo", SINFO.format(state="idle"))
    monkeypatch.setenv("SBATCH_TIMELIMIT", "7")
    monkeypatch.setenv("SBATCH_GRES", "gpu:4")
    made = cluster(tmp_path, clock)
    made.check(Resources())
    made.check(Resources.parse({"cpu": 2}))
    script = made.preview(request(tmp_path))
    assert "#SBATCH --time=7" in script
    assert "gpu:4" not in script
    assert [r.getMessage() for r in caplog.records if "SBATCH_GRES" in r.getMessage()] == [
        profile.about(["SBATCH_GRES"])
    ]
