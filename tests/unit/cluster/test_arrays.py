"""Job arrays against executables of ours that stand for Slurm's, and the rules of how many go out at once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from hpctune.cluster.slurm import arrays
from hpctune.cluster.slurm.batching import Batches
from hpctune.cluster.slurm.sbatch_errors import Meaning, Refusal
from hpctune.errors import ClusterUnavailableError
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, Refused, SubmitOutcome, Unanswered
from hpctune.model.resources import Resources
from hpctune.worker.job import job_id_here, restart_count
from tests.support.slurm_lab import Clock, Slurm, cluster, request


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    made = Slurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm' / 'bin'}:{os.environ['PATH']}")
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


def jobs_of(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "exp" / "jobs").iterdir())


def key_in(script: Path) -> str:
    line = next(li for li in script.read_text().splitlines() if "hpctune-array:" in li)
    tag = arrays.ArrayTag.parse(line.partition("--comment=")[2])
    assert tag is not None
    assert tag.experiment_id == "e1"
    return tag.key


def shown(job: str, state: str, key: str) -> str:
    return "\x1e" + "\x1f".join((job, state, "None", "", "N/A", f"hpctune-array:e1:{key} my own words")) + "\n"


def three(tmp_path: Path) -> list[JobRequest]:
    return [request(tmp_path, n) for n in range(3)]


# -- one call for all ------------------------------------------------------------------------------------------------


def test_requests_for_the_same_are_one_call(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "7\n")
    slurm.says("sbatch", "8\n")
    made = cluster(tmp_path, clock)
    asked = [request(tmp_path, 0), request(tmp_path, 1, {"cpu": 2}), request(tmp_path, 2), request(tmp_path, 3)]
    assert made.submit(asked) == [Accepted("7_0"), Accepted("8"), Accepted("7_1"), Accepted("7_2")]
    assert [name for name, _, _ in slurm.calls] == ["sbatch", "sbatch"]
    assert [path.name for path in jobs_of(tmp_path)] == ["7_submission.sh", "8_submission.sh"]
    text = jobs_of(tmp_path)[0].read_text()
    assert "#SBATCH --array=0-2" in text
    assert "#SBATCH --job-name=x" in text
    assert all((tmp_path / "exp" / f"trial{n}").is_dir() for n in range(4))


def test_other_nodes_to_avoid_are_another_call(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    avoiding = [JobRequest(r.tag, r.name, r.command, r.resources, r.stdout, r.stderr, r.env, ("n1",)) for r in three(tmp_path)]  # fmt: skip  # noqa: E501
    assert arrays.groups([*three(tmp_path), *avoiding]) == [[0, 1, 2], [3, 4, 5]]


def test_without_arrays_each_is_a_call(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    for n in range(3):
        slurm.says("sbatch", f"{n}\n")
    made = cluster(tmp_path, clock, array=False)
    assert made.submit(three(tmp_path)) == [Accepted("0"), Accepted("1"), Accepted("2")]
    assert "job array" not in made.preview(request(tmp_path))
    assert "job array" in cluster(tmp_path, clock).preview(request(tmp_path))


def test_room_counts_elements_and_the_budget_counts_calls(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "7\n")
    made = cluster(tmp_path, clock, calls_per_minute=6, max_submitted=50)
    made.submit(three(tmp_path))
    assert made.room(Resources()) == 47
    for n in range(3):
        made.submit([request(tmp_path, n)])
    assert made.room(Resources()) == 0, "no call is left"


# -- the script ------------------------------------------------------------------------------------------------------


def test_each_element_runs_its_own_branch(tmp_path: Path, clock: Clock) -> None:
    made = cluster(tmp_path, clock, use_srun=False, setup=["export FROM_SETUP=1"], env={"A": "all", "B": "all"})
    asked = []
    for n in range(3):
        trial = tmp_path / f"it's %j {n}"
        trial.mkdir()
        command = ("bash", "-c", 'echo "$0 $A $B $FROM_SETUP $HPCTUNE_JOB_ID"; echo bad >&2; exit 3', f"arg '{n}'")
        env = {"A": f"own {n}\n# The trials of array x: hpctune:e1:evil:1"}
        asked.append(
            JobRequest(Tag("e1", f"t{n}", 1), f"n_{n}", command, Resources(), trial / "out", trial / "err", env)
        )
    script = made._text(asked, "abc")
    assert arrays.tags_in(script, "abc") == tuple(r.tag for r in asked)
    assert arrays.tags_in(script, "x") == ()
    for n, one in enumerate(asked):
        environ = {
            "SLURM_ARRAY_TASK_ID": str(n),
            "SLURM_ARRAY_JOB_ID": "9",
            "SLURM_JOB_ID": "77",
            "PATH": "/bin:/usr/bin",
        }
        done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
        assert one.stdout.read_text() == f"arg '{n}' {one.env['A']} all 1 9_{n}\n"
        assert one.stderr.read_text() == "bad\n"
    stray = subprocess.run(["bash", "-c", script], env={"SLURM_ARRAY_TASK_ID": "3"}, capture_output=True)
    assert stray.returncode == 127, "an index without a trial runs nothing"


@pytest.mark.parametrize(
    ("names", "common"),
    [(["train_1f_00009", "train_1f_00010"], "train_1f"), (["a", "b"], "a"), (["x", "x"], "x"), (["7", "71"], "7")],
)
def test_the_name_is_what_all_have_in_common(tmp_path: Path, clock: Clock, names: list[str], common: str) -> None:
    asked = [JobRequest(Tag("e1", n, 1), n, ("true",), Resources(), tmp_path / "o", tmp_path / "e") for n in names]
    assert f"#SBATCH --job-name={common}\n" in cluster(tmp_path, clock)._text(asked, "k")


# -- what is told apart, and when the list may go --------------------------------------------------------------------


def test_elements_have_the_tags_of_their_requests(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "7\n")
    made = cluster(tmp_path, clock)
    made.submit(three(tmp_path))
    key = key_in(jobs_of(tmp_path)[0])
    slurm.says("squeue", shown("7_0", "COMPLETED", key) + shown("7_2", "RUNNING", key) + shown("7_9", "PENDING", key))
    for one in (made, cluster(tmp_path, clock)):
        assert [(j.job_id, j.tag.trial_id, j.state.value) for j in one.jobs()] == [
            ("7_0", "t0", "COMPLETED"), ("7_2", "t2", "RUNNING"),
        ]  # fmt: skip


def test_arrays_of_others_are_not_ours(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    text = shown("7_0", "RUNNING", "k").replace(":e1:", ":e2:") + shown("8_0", "RUNNING", "k-not-ours")
    slurm.says("squeue", text)
    assert cluster(tmp_path, clock).jobs() == []


def test_a_lost_answer_is_found_by_the_comment(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", err="Socket timed out on send/recv operation", rc=1)
    made = cluster(tmp_path, clock)
    assert {type(outcome) for outcome in made.submit(three(tmp_path))} == {Unanswered}
    (draft,) = jobs_of(tmp_path)
    slurm.says("squeue", "")
    assert made.jobs() == []
    made.tidy([])
    assert jobs_of(tmp_path) == [draft], "it may be on the way still"
    slurm.says("squeue", shown("7_1", "PENDING", key_in(draft)))
    made.jobs()
    assert [job.tag.trial_id for job in made.jobs()] == ["t1"]
    assert [path.name for path in jobs_of(tmp_path)] == ["7_submission.sh"]


def test_a_lost_answer_that_came_to_nothing_leaves_nothing(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", err="Socket timed out on send/recv operation", rc=1)
    cluster(tmp_path, clock).submit(three(tmp_path))
    after = cluster(tmp_path, clock)
    after.jobs()
    after.tidy([])
    assert len(jobs_of(tmp_path)) == 1
    clock.at += arrays.DOUBT_S + 1
    after.tidy([])
    assert jobs_of(tmp_path) == []


def test_the_script_goes_when_all_that_is_shown_is_settled(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "7\n")
    made = cluster(tmp_path, clock)
    made.submit(three(tmp_path))
    key = key_in(jobs_of(tmp_path)[0])
    slurm.says("squeue", shown("7_0", "COMPLETED", key) + shown("7_1", "RUNNING", key) + shown("7_2", "FAILED", key))
    slurm.says("squeue", shown("7_1", "COMPLETED", key) + shown("7_2", "FAILED", key))
    made.jobs()
    made.tidy(["7_0", "7_1", "7_2"])
    assert len(jobs_of(tmp_path)) == 1, "7_1 runs"
    made.jobs()
    made.tidy(["7_1"])
    assert jobs_of(tmp_path) == []
    assert [job.tag.trial_id for job in made.jobs()] == ["t1", "t2"]
    assert cluster(tmp_path, clock).jobs() == [], "what is settled is nobody's"


def test_the_script_goes_when_slurm_has_forgotten_all(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "7\n")
    cluster(tmp_path, clock).submit(three(tmp_path))
    made = cluster(tmp_path, clock)
    made.tidy([])
    assert len(jobs_of(tmp_path)) == 1, "Slurm was not asked"
    made.jobs()
    made.tidy([])
    assert jobs_of(tmp_path) == []


def test_a_list_that_is_not_visible_yet_is_no_absence(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", "7\n")
    cluster(tmp_path, clock).submit(three(tmp_path))
    (script,) = jobs_of(tmp_path)
    slurm.says("squeue", shown("7_0", "RUNNING", key_in(script)))
    hidden = script.rename(script.with_name("hidden"))
    made = cluster(tmp_path, clock)
    for _ in range(2):
        with pytest.raises(ClusterUnavailableError, match=r"7_submission\.sh, which names its trial"):
            made.jobs()
    hidden.rename(script)
    assert [job.tag.trial_id for job in made.jobs()] == ["t0"]
    script.unlink()
    other = cluster(tmp_path, clock)
    with pytest.raises(ClusterUnavailableError):
        other.jobs()
    clock.at += arrays.VISIBLE_WITHIN_S
    assert other.jobs() == []


# -- what Slurm refuses ----------------------------------------------------------------------------------------------


class Site:
    """Takes arrays of ``most`` at most, and so many jobs in all."""

    def __init__(self, most: int, limit: int = 10**6, never: bool = False) -> None:
        self.most, self.limit, self.never = most, limit, never
        self.calls: list[int] = []
        self.jobs = 0

    def __call__(self, requests: Sequence[JobRequest]) -> tuple[list[SubmitOutcome], Refusal | None]:
        count = len(requests)
        self.calls.append(count)
        if self.never or count > self.most:
            return self._refused(count, "permanent")
        if self.jobs + count > self.limit:
            return self._refused(count, "limit")
        self.jobs += count
        return [Accepted(r.tag.trial_id) for r in requests], None

    @staticmethod
    def _refused(count: int, meaning: Meaning) -> tuple[list[SubmitOutcome], Refusal]:
        return [Refused(meaning, meaning == "permanent")] * count, Refusal(meaning, meaning)


def many(tmp_path: Path, count: int) -> list[JobRequest]:
    return [request(tmp_path, n) for n in range(count)]


def test_a_size_that_is_too_large_is_learned(tmp_path: Path) -> None:
    site = Site(most=30)
    batches = Batches(site, 1000)
    outcomes, no_room = batches.submit(many(tmp_path, 100))
    assert outcomes == [Accepted(f"t{n}") for n in range(100)]
    assert not no_room
    assert site.calls == [100, 1, 50, 1, 25, 25, 25, 23]
    site.calls.clear()
    batches.submit(many(tmp_path, 60))
    assert site.calls == [25, 25, 10]


def test_a_site_that_wants_no_arrays_gets_none(tmp_path: Path) -> None:
    site = Site(most=1)
    batches = Batches(site, 1000)
    outcomes, _ = batches.submit(many(tmp_path, 6))
    assert outcomes == [Accepted(f"t{n}") for n in range(6)]
    assert batches.at_once == 1


def test_what_one_job_is_refused_for_all_are(tmp_path: Path) -> None:
    site = Site(most=1000, never=True)
    batches = Batches(site, 1000)
    outcomes, no_room = batches.submit(many(tmp_path, 6))
    assert outcomes == [Refused("permanent", True)] * 6
    assert site.calls == [6, 1]
    assert not no_room
    assert batches.at_once == 1000


def test_a_limit_lets_in_what_it_can_and_stops(tmp_path: Path) -> None:
    site = Site(most=1000, limit=10)
    outcomes, no_room = Batches(site, 1000).submit(many(tmp_path, 25))
    assert no_room
    assert site.calls == [25, 12, 6]
    assert outcomes[:6] == [Accepted(f"t{n}") for n in range(6)]
    assert {type(o) for o in outcomes[6:]} == {Refused}
    assert not any(o.permanent for o in outcomes[6:] if isinstance(o, Refused))
    assert all("limit" in o.reason for o in outcomes[6:] if isinstance(o, Refused)), "in the cluster's words"
    full = Site(most=1000, limit=0)
    outcomes, no_room = Batches(full, 1000).submit(many(tmp_path, 4))
    assert no_room
    assert full.calls == [4, 2, 1]
    assert all(isinstance(o, Refused) and "limit" in o.reason for o in outcomes)


def test_after_a_limit_there_is_no_room_for_a_while(slurm: Slurm, tmp_path: Path, clock: Clock) -> None:
    slurm.says("sbatch", err="sbatch: error: QOSMaxSubmitJobPerUserLimit", rc=1)
    slurm.says("sbatch", "7\n")
    made = cluster(tmp_path, clock)
    outcomes = made.submit([request(tmp_path, n) for n in range(4)])
    assert outcomes[:2] == [Accepted("7_0"), Accepted("7_1")]
    assert all(isinstance(o, Refused) and not o.permanent for o in outcomes[2:])
    assert made.room(Resources()) == 0
    assert [path.name for path in jobs_of(tmp_path)] == ["7_submission.sh"]
    clock.at += 15.1
    assert made.room(Resources()) > 0


# -- inside an element -----------------------------------------------------------------------------------------------


def test_an_element_is_called_as_squeue_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SLURM_JOB_ID": "80", "SLURM_RESTART_COUNT": "2"}.items():
        monkeypatch.setenv(name, value)
    for name in ("HPCTUNE_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert (job_id_here(), restart_count()) == ("80", 2)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "79")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert (job_id_here(), restart_count()) == ("79_3", 2)
    monkeypatch.setenv("HPCTUNE_JOB_ID", "79_3")
    assert (job_id_here(), restart_count()) == ("79_3", 2)
    monkeypatch.setenv("HPCTUNE_JOB_ID", "79_3.5")
    assert restart_count() == 0, "a trial of a worker was not restarted with it"
