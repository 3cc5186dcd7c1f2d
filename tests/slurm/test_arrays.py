"""Job arrays on a real Slurm."""

from __future__ import annotations

import re
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.cluster import SlurmCluster
from hpctune.model import events as e
from hpctune.model.ids import Tag
from hpctune.model.jobs import Accepted, JobRequest, JobState, JobStatus
from hpctune.model.resources import Resources
from hpctune.testing.cluster_suite import SuiteClock

from .cluster import SlurmCluster as RealSlurm, wait_for
from .conftest import running_cluster
from .search import Search

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_cluster")]

Make = Callable[..., SlurmCluster]
SAYS = "import os; print(os.environ['WHO'], os.environ['HPCTUNE_JOB_ID'], os.environ.get('SLURM_RESTART_COUNT'))"
LONG = f"{SAYS}\nimport time; time.sleep(600)"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    experiment, made = uuid.uuid4().hex[:8], []

    def build(**options: Any) -> SlurmCluster:
        chosen = SlurmOptions(**{"mem": "100M", "time": 10, "calls_per_minute": None, **options})
        made.append(SlurmCluster(tmp_path / "it's 100% \\ done", experiment, chosen, SuiteClock()))
        return made[-1]

    yield build
    if made:
        last = build()
        last.cancel([job.job_id for job in last.jobs() if not job.state.final])
        wait_for(lambda: all(job.state.final for job in last.jobs()), what="all jobs to end")


def requests(tmp_path: Path, cluster: SlurmCluster, count: int, code: str = SAYS) -> list[JobRequest]:
    return [
        JobRequest(
            Tag(cluster._experiment_id, f"t{n}", 1),
            f"train_{n:05d}",
            (sys.executable, "-u", "-c", code),
            Resources(),
            tmp_path / f"it's {n}" / "out",
            tmp_path / f"it's {n}" / "err",
            {"WHO": f"it's %{n}\nand $HOME"},
        )
        for n in range(count)
    ]


def submitted(cluster: SlurmCluster, asked: list[JobRequest]) -> list[str]:
    outcomes = cluster.submit(asked)
    ids = [outcome.job_id for outcome in outcomes if isinstance(outcome, Accepted)]
    assert len(ids) == len(asked), outcomes
    return ids


def by_id(cluster: SlurmCluster) -> dict[str, JobStatus]:
    return {job.job_id: job for job in cluster.jobs()}


def scripts(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "it's 100% \\ done" / "jobs").iterdir())


@pytest.mark.parametrize("use_srun", [True, False])
def test_elements_have_their_own_command_output_variables_and_tag(make: Make, tmp_path: Path, use_srun: bool) -> None:
    cluster = make(use_srun=use_srun)
    asked = requests(tmp_path, cluster, 5)
    ids = submitted(cluster, asked)
    assert cluster.stats().total == 1
    assert ids == [f"{ids[0].partition('_')[0]}_{n}" for n in range(5)]
    seen = by_id(cluster)
    assert {job_id: seen[job_id].tag for job_id in ids} == dict(zip(ids, [r.tag for r in asked], strict=True))
    wait_for(lambda: all(job.state is JobState.COMPLETED for job in cluster.jobs()), what="all to complete")
    for job_id, request in zip(ids, asked, strict=True):
        assert request.stdout.read_text() == f"{request.env['WHO']} {job_id} None\n"
        assert request.stderr.read_text() == ""


def test_elements_are_cancelled_singly_running_or_waiting(make: Make, tmp_path: Path, slurm_cluster: RealSlurm) -> None:
    cluster = make()
    ids = submitted(cluster, requests(tmp_path, cluster, 3, LONG))
    wait_for(lambda: {job.state for job in cluster.jobs()} == {JobState.RUNNING}, what="all to run")
    cluster.cancel([ids[1]])
    wait_for(lambda: by_id(cluster)[ids[1]].state is JobState.CANCELLED, what="the cancel")
    seen = by_id(cluster)
    assert [seen[job_id].state for job_id in (ids[0], ids[2])] == [JobState.RUNNING] * 2

    held = make(additional_parameters={"hold": True})
    waiting = submitted(held, requests(tmp_path, held, 3, LONG))
    assert {by_id(held)[job_id].state for job_id in waiting} == {JobState.PENDING}
    held.cancel([waiting[0]])
    gone = (None, JobState.CANCELLED)  # one that never started may leave no record
    wait_for(lambda: getattr(by_id(held).get(waiting[0]), "state", None) in gone, what="the cancel")
    seen = by_id(held)
    assert [seen[job_id].state for job_id in waiting[1:]] == [JobState.PENDING] * 2


def test_the_script_stays_as_long_as_an_element_matters(make: Make, tmp_path: Path) -> None:
    cluster = make()
    ids = submitted(cluster, requests(tmp_path, cluster, 2))
    (name,) = scripts(tmp_path)
    assert name == f"{ids[0].partition('_')[0]}_submission.sh"
    wait_for(lambda: all(job.state is JobState.COMPLETED for job in cluster.jobs()), what="all to complete")
    cluster.tidy(ids[:1])
    assert scripts(tmp_path) == [name]
    assert {job.tag.trial_id for job in make().jobs()} == {"t0", "t1"}
    cluster.tidy(ids[1:])
    assert scripts(tmp_path) == []
    assert {job.tag.trial_id for job in cluster.jobs()} == {"t0", "t1"}
    assert make().jobs() == [], "what is settled need not be told apart any more"


def test_an_array_whose_answer_was_lost_is_found_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = make()
    asked = requests(tmp_path, cluster, 4, LONG)
    with monkeypatch.context() as patch:
        patch.setattr("hpctune.cluster.slurm.sbatch.job_id_in", lambda _: None)
        outcomes = cluster.submit(asked)
    assert {type(outcome).__name__ for outcome in outcomes} == {"Unanswered"}
    (draft,) = scripts(tmp_path)
    assert draft.startswith("array-")
    again = make()  # as after a crash of the driver
    found = again.jobs()
    assert {job.tag for job in found} == {request.tag for request in asked}
    base = found[0].job_id.partition("_")[0]
    assert scripts(tmp_path) == [f"{base}_submission.sh"]
    assert {job.tag for job in cluster.jobs()} == {request.tag for request in asked}


def test_one_element_is_requeued(make: Make, tmp_path: Path, slurm_cluster: RealSlurm) -> None:
    cluster = make(requeue=True)
    asked = requests(tmp_path, cluster, 2, LONG)
    ids = submitted(cluster, asked)
    up = "None\n"
    wait_for(lambda: all(r.stdout.exists() and r.stdout.read_text().endswith(up) for r in asked), what="both to be up")
    slurm_cluster.run("scontrol", "requeue", ids[0])
    wait_for(lambda: by_id(cluster)[ids[0]].state is JobState.PENDING, what="the requeue")
    assert by_id(cluster)[ids[1]].state is JobState.RUNNING
    who = asked[0].env["WHO"]
    wait_for(lambda: asked[0].stdout.read_text().endswith(f"{ids[0]} 1\n"), what="the second start")
    assert asked[0].stdout.read_text() == f"{who} {ids[0]} None\n{who} {ids[0]} 1\n"
    assert by_id(cluster)[ids[0]].tag == asked[0].tag


TRAIN = """
import time
from pathlib import Path
import hpctune as tune

def train(config):
    checkpoint, done = tune.get_checkpoint(), 0
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            done = int((Path(directory) / "i").read_text())
    for i in range(done + 1, {steps} + 1):
        time.sleep({pause})
        with tune.checkpoint_dir(step=i) as directory:
            (Path(directory) / "i").write_text(str(i))
        tune.report(loss=i)

tune.run(
    train, name="run", config={{"who": tune.grid_search(list(range({trials})))}},
    cluster=tune.SlurmOptions(mem="100M", poll_s=1, calls_per_minute=None),
)
"""


def facts(search: Search, kind: type[Any]) -> list[Any]:
    return [fact for fact in search.facts() if isinstance(fact, kind)]


def submissions(cluster: RealSlurm) -> int:
    text = cluster.run("sdiag")
    return sum(int(n) for n in re.findall(r"REQUEST_SUBMIT_BATCH_JOB\s+\(\s*\d+\)\s+count:(\d+)", text))


def test_forty_trials_in_few_submissions(searches: Callable[..., Search], slurm_cluster: RealSlurm) -> None:
    before = submissions(slurm_cluster)
    search = searches(TRAIN.format(steps=1, pause=0, trials=40))
    search.finish()
    assert {who: len(rows) for who, rows in search.rows().items()} == dict.fromkeys(range(40), 1)
    assert 1 <= submissions(slurm_cluster) - before <= 4
    ids = [fact.job_id for fact in facts(search, e.SubmitAcknowledged)]
    assert len(set(ids)) == 40
    assert all("_" in job_id for job_id in ids)
    assert list((search.experiment / "jobs").iterdir()) == []


def test_a_driver_that_died_leaves_its_arrays_to_the_next(
    searches: Callable[..., Search], tmp_path: Path, slurm_cluster: RealSlurm
) -> None:
    config = TRAIN.format(steps=4, pause=1, trials=6)
    first = searches(config)
    wait_for(lambda: first.experiment.exists() and len(facts(first, e.ResultReported)) >= 3, what="results")
    first.driver.kill()
    first.driver.wait()
    before = submissions(slurm_cluster)
    second = searches(config, "--resume")
    second.finish()
    assert {who: [row["loss"] for row in rows] for who, rows in second.rows().items()} == {
        who: [1, 2, 3, 4] for who in range(6)
    }
    assert submissions(slurm_cluster) == before
    assert {fact.run.restart for fact in facts(second, e.RunStarted)} == {0}


def test_an_element_that_is_requeued_goes_on_from_its_checkpoint(
    searches: Callable[..., Search], slurm_cluster: RealSlurm
) -> None:
    search = searches(TRAIN.format(steps=5, pause=1, trials=3))
    wait_for(lambda: search.experiment.exists() and len(facts(search, e.ResultReported)) >= 6, what="results")
    victim = facts(search, e.RunStarted)[0]
    assert "_" in victim.job_id
    slurm_cluster.run("scontrol", "requeue", victim.job_id)
    search.finish()
    assert {who: [row["loss"] for row in rows] for who, rows in search.rows().items()} == {
        who: [1, 2, 3, 4, 5] for who in range(3)
    }
    again = [run for run in facts(search, e.RunStarted) if run.run.trial_id == victim.run.trial_id]
    assert again[0].job_id == victim.job_id
    assert len(again) == 2
    assert len(facts(search, e.RunStarted)) == 4, "the others were not disturbed"


def test_workers_of_a_pool_are_one_array(searches: Callable[..., Search], slurm_cluster: RealSlurm) -> None:
    before = submissions(slurm_cluster)
    search = searches(TRAIN.format(steps=1, pause=0.2, trials=12).replace("poll_s=1", "poll_s=1, workers=3"))
    search.finish()
    assert len(search.rows()) == 12
    assert submissions(slurm_cluster) - before == 1
    workers = sorted(path.name for path in (search.experiment / "workers").iterdir())
    assert workers == ["w0001", "w0002", "w0003"]


def test_a_site_that_takes_small_arrays_only(tmp_path: Path) -> None:
    """MaxArraySize 4: elements 0 to 3. What is refused for its size goes out in parts, and all run."""
    with running_cluster("--max-array-size", "4") as small:
        before = submissions(small)
        search = Search(tmp_path, TRAIN.format(steps=1, pause=0, trials=10))
        search.finish()
        assert {who: len(rows) for who, rows in search.rows().items()} == dict.fromkeys(range(10), 1)
        ids = [fact.job_id for fact in facts(search, e.SubmitAcknowledged)]
        assert len(set(ids)) == 10
        elements = Counter(job_id.partition("_")[0] for job_id in ids)
        assert 2 <= max(elements.values()) <= 4, elements
        assert submissions(small) - before < 10
        search.driver.communicate()
