"""squeue's answers, the wording of sbatch's refusals, and the budget of calls."""

from __future__ import annotations

import pytest

from hpctune.cluster.environment import outside_any_job
from hpctune.cluster.slurm import squeue
from hpctune.cluster.slurm.call_budget import CallBudget
from hpctune.cluster.slurm.commands import Answer
from hpctune.cluster.slurm.sbatch import job_id_in
from hpctune.cluster.slurm.sbatch_errors import meaning, refusal
from hpctune.errors import ClusterUnavailableError
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobState


def line(job: str, state: str, comment: str, reason: str = "None", nodes: str = "", end: str = "N/A") -> str:
    return "\x1e" + "\x1f".join((job, state, reason, nodes, end, comment)) + "\n"


def test_only_jobs_of_the_experiment_are_seen() -> None:
    text = (
        line("1", "RUNNING", "hpctune:e:t1:1", nodes="n[1-2]", end="1795249418")
        + line("2", "PENDING", "hpctune:other:t1:1", reason="Priority")
        + line("3", "RUNNING", "(null)")
        + line("4", "RUNNING", "not hpctune:e:t1:1")
        + line("5_7", "PENDING", "hpctune:e:t2:3 user's words | and\nlines \x1f too", reason="Resources")
    )
    first, second = squeue.parse(text, "e")
    assert (first.job_id, first.tag, first.state) == ("1", Tag("e", "t1", 1), JobState.RUNNING)
    assert (first.nodes, first.ends_at, first.reason) == ("n[1-2]", 1795249418.0, "")
    assert (second.job_id, second.tag, second.reason) == ("5_7", Tag("e", "t2", 3), "Resources")
    assert second.ends_at is None


def test_a_heterogeneous_job_is_its_first_part() -> None:
    text = line("7+0", "RUNNING", "hpctune:e:t1:1", nodes="n1") + line("7+1", "RUNNING", "hpctune-part:e", nodes="n2")
    assert [job.job_id for job in squeue.parse(text, "e")] == ["7"]


def test_an_empty_queue_is_no_jobs_and_noise_is_an_error() -> None:
    assert squeue.parse("", "e") == []
    assert squeue.parse("CLUSTER: dev\n", "e") == []
    with pytest.raises(ValueError, match="cannot be parsed"):
        squeue.parse("Slurm is being upgraded, come back later\n", "e")
    with pytest.raises(ValueError, match="cannot be parsed"):
        squeue.parse("\x1e12\x1fRUNNING\n", "e")


@pytest.mark.parametrize(("text", "expected"), [("N/A", None), ("NONE", None), ("", None), ("17", 17.0)])
def test_ends(text: str, expected: float | None) -> None:
    assert squeue.parse(line("1", "RUNNING", "hpctune:e:t:1", end=text), "e")[0].ends_at == expected


def test_an_end_in_local_time_is_understood_too() -> None:
    assert squeue.parse(line("1", "RUNNING", "hpctune:e:t:1", end="2026-11-21T07:53:36"), "e")[0].ends_at is not None


@pytest.mark.parametrize("word", ["REVOKED", "NEW_STATE_OF_2031", "", "???", "POWER_UP_NODE"])
def test_unknown_states_are_never_final(word: str) -> None:
    assert squeue.state(word) is JobState.UNKNOWN
    assert not squeue.state(word).final


def test_states() -> None:
    expected = {
        "PENDING": "PENDING CONFIGURING REQUEUED REQUEUE_HOLD REQUEUE_FED RESV_DEL_HOLD SPECIAL_EXIT",
        "RUNNING": "RUNNING RESIZING SIGNALING",
        "SUSPENDED": "SUSPENDED STOPPED",
        "COMPLETING": "COMPLETING STAGE_OUT",
        "NODE_FAIL": "NODE_FAIL BOOT_FAIL",
        "TIMEOUT": "TIMEOUT DEADLINE",
        "CANCELLED": "CANCELLED",
        "PREEMPTED": "PREEMPTED",
        "OUT_OF_MEMORY": "OUT_OF_MEMORY",
    }
    for name, words in expected.items():
        assert {squeue.state(w) for w in words.split()} == {JobState(name)}
    assert squeue.state("CANCELLED by 1000") is JobState.CANCELLED
    assert squeue.state("CANCELLED+") is JobState.CANCELLED


@pytest.mark.parametrize(
    ("text", "job_id"),
    [
        ("12\n", "12"),
        ("12;dev\n", "12"),
        ("Submitted batch job 12\n", "12"),
        ("Submitted batch job 12 on cluster dev\n", "12"),
        ("Welcome to the site 2026!\nYour project: 77\n12\n", "12"),
        ("--> Verifying job request...OK\nSubmitted batch job 12\n", "12"),
        ("", None),
        ("job 12 maybe", None),
    ],
)
def test_job_ids_in_whatever_sbatch_prints(text: str, job_id: str | None) -> None:
    assert job_id_in(text) == job_id


FAILED = "sbatch: error: Batch job submission failed:"
POLICY = f"{FAILED} Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
MEANINGS = {
    "permanent": [
        f"sbatch: error: invalid partition specified: gpuu\n{FAILED} Invalid partition name specified",
        f"{FAILED} Invalid account or account/partition combination specified",
        f"{FAILED} Invalid qos specification",
        "allocation failure: Requested node configuration is not available",
        f"sbatch: error: CPU count can not be satisfied\n{FAILED} Requested node configuration is not available",
        f"{FAILED} Requested time limit is invalid (missing or exceeds some limit)",
        "sbatch: error: Invalid generic resource (gres) specification",
        "sbatch: unrecognized option '--foo=1'\nTry \"sbatch --help\" for more information",
        f"sbatch: error: You must specify an account\n{FAILED} Unspecified error",
        f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{POLICY}",
        f"sbatch: error: QOSMaxCpuPerJobLimit\n{POLICY}",
    ],
    "limit": [
        f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}",
        f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}",
        "sbatch: error: AssocGrpSubmitJobsLimit",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        f"{FAILED} Unable to create job record, try again",
    ],
    "later": [
        POLICY,
        f"{FAILED} Required partition not available (inactive or drain)",
        f"{FAILED} I/O error writing script/environment to file",
        f"sbatch: error: Munge encode failed: timed out\n{FAILED} Invalid authentication credential",
    ],
    "unclear": [f"{FAILED} Requested partition configuration not available now", f"{FAILED} Something new in Slurm 31"],
    "unanswered": [
        f"{FAILED} Socket timed out on send/recv operation",
        f"{FAILED} Unable to contact slurm controller (connect failure)",
        "sbatch: error: slurm_receive_msg: Zero Bytes were transmitted or received",
        f"{FAILED} Slurm backup controller in standby mode",
        "sbatch: error: connect: Connection refused",
    ],
}


@pytest.mark.parametrize(("expected", "words"), [(m, w) for m, texts in MEANINGS.items() for w in texts])
def test_what_refusals_mean(expected: str, words: str) -> None:
    assert meaning(words) == expected


def test_a_refusal_has_slurms_words_and_a_way_out() -> None:
    err = f"sbatch: error: invalid partition specified: gpuu\n{FAILED} Invalid partition name specified"
    told = refusal(Answer(1, "", err), ["main*", "big"])
    assert told.reason == (
        "Slurm said: invalid partition specified: gpuu; Invalid partition name specified. Partitions here: main*, big. "
        "Set --partition or SlurmOptions(partition=...)."
    )


def test_no_answer_in_time_is_unanswered_whatever_was_said() -> None:
    told = refusal(Answer(None, "", "sbatch: Slurm temporarily unable to accept job, sleeping and retrying"))
    assert told.meaning == "unanswered"
    assert "did not answer in time" in told.reason
    assert "temporarily unable" in told.reason


def test_silence_is_said_to_be_silence() -> None:
    assert "nothing (exit code 7)" in refusal(Answer(7, "", "")).reason


class Time:
    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at


def spend(budget: CallBudget, kind: str, count: int) -> int:
    done = 0
    for _ in range(count):
        try:
            budget.spend(kind)  # type: ignore[arg-type]
        except ClusterUnavailableError:
            break
        done += 1
    return done


def test_the_budget_is_hard_and_slides() -> None:
    time = Time()
    budget = CallBudget(30, time.now)
    assert spend(budget, "query", 100) == 24
    assert spend(budget, "submit", 100) == 3
    assert spend(budget, "cancel", 100) == 3
    with pytest.raises(ClusterUnavailableError, match=r"30 Slurm commands a minute is spent; next call in 60 s"):
        budget.spend("query")
    time.at += 59.9
    assert spend(budget, "query", 1) == 0
    time.at += 0.2
    assert spend(budget, "query", 100) == 24
    assert (budget.stats().total, budget.stats().last_minute, budget.stats().budget_per_minute) == (54, 24, 30)
    assert budget.stats().deferred == 6


@pytest.mark.parametrize("kind", ["query", "submit", "cancel"])
def test_no_kind_of_call_starves_another(kind: str) -> None:
    budget = CallBudget(60, Time().now)
    spend(budget, kind, 1000)
    for other in {"query", "submit", "cancel"} - {kind}:
        assert spend(budget, other, 6) == 6


def test_the_budget_never_gives_more_than_it_says() -> None:
    budget = CallBudget(6, Time().now)
    assert sum(spend(budget, kind, 100) for kind in ("cancel", "submit", "query")) == 6


def test_without_a_limit_all_is_counted_and_nothing_deferred() -> None:
    budget = CallBudget(None, Time().now)
    assert spend(budget, "query", 500) == 500
    assert budget.available("submit") is None
    assert budget.stats().last_minute == 500


def test_a_clock_that_was_set_back_does_not_lock_the_budget() -> None:
    time = Time()
    budget = CallBudget(6, time.now)
    spend(budget, "query", 10)
    time.at -= 3600
    assert spend(budget, "query", 1) == 1


def test_the_variables_of_a_surrounding_job_are_dropped_and_the_cluster_is_kept() -> None:
    environ = {"SLURM_JOB_ID": "1", "SLURM_CPU_BIND": "x", "SBATCH_PARTITION": "p", "SLURM_CONF": "/c", "PMI_RANK": "0"}
    others = {"PATH": "/bin", "HOME": "/h", "OMP_NUM_THREADS": "2"}
    assert outside_any_job({**environ, **others, "CUDA_VISIBLE_DEVICES": "0"}) == {"SLURM_CONF": "/c", **others}
    assert outside_any_job({"CUDA_VISIBLE_DEVICES": "0"}) == {"CUDA_VISIBLE_DEVICES": "0"}
    assert outside_any_job({"WANDB_SERVICE": "2-1-unix-/tmp/s", "WANDB_MODE": "offline"}) == {"WANDB_MODE": "offline"}
