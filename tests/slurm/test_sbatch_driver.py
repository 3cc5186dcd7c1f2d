"""`hpctune run --sbatch` on a real Slurm: the driver as a job, its successors, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hpctune.model import events as e

from .cluster import SlurmCluster, wait_for
from .test_run import Place

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(280)]
BROKEN = """class Broken(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        if result["step"] == 2:
            raise ValueError("this callback is broken")


tuner = """


@pytest.fixture
def place(tmp_path: Path, slurm_cluster: SlurmCluster) -> Any:
    tmp_path.chmod(0o755)
    yield Place(tmp_path)
    slurm_cluster.cancel_all()


def drivers(cluster: SlurmCluster) -> dict[str, str]:
    """State by id of the driver jobs in the queue."""
    return {job.id: job.state for job in cluster.squeue() if job.name == "hpctune-driver-run"}


def start(place: Place, *arguments: str, code: int = 0) -> str:
    """`hpctune run --sbatch`, and what it said."""
    given = ("run", "config.py", "--storage-path", "results", "--cluster", "slurm", "--sbatch", *arguments)
    rc, out, err = place.call(*given)
    assert rc == code, (out, err)
    return out + err


def started(place: Place) -> list[e.DriverStarted]:
    return [r.event for r in place.recorded() if isinstance(r.event, e.DriverStarted)]


def lease(place: Place) -> dict[str, Any]:
    return dict(json.loads((place.experiment / "lease.json").read_text()))


def driven(place: Place) -> dict[str, Any] | None:
    """What `status` says of the driver while one drives and the next one waits."""
    status = dict(place.status()["driver"])
    jobs = status["jobs"] or {}
    return status if status["alive"] and jobs.get("running", {}).get("job_id") == status["job"] else None


def everything_counted_once(place: Place, trials: int, stop: int) -> None:
    counted = place.counted()
    assert {t: rows for t, rows in counted.items() if rows != list(range(1, stop + 1))} == {}
    assert len(counted) == trials
    twice = {t: n for t, n in Counter(s["trial"] for s in place.starts()).items() if n > 1}
    assert twice == {}, "a trial ran twice"


@pytest.mark.nightly
def test_hands_over_before_its_time_is_up_until_all_is_done(
    place: Place, slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drivers with a time limit of a minute, of which Slurm leaves them about half, for a search that takes longer."""
    monkeypatch.setenv("SBATCH_PARTITION", "scavenge")
    monkeypatch.setenv("SBATCH_MEM_PER_CPU", "300")
    place.config(trials=15, stop=20, pause=0.6)
    words = start(place, "--driver-time", "1", "--driver-partition", "main", "--max-concurrent", "3")
    first = min(drivers(slurm_cluster), key=int)
    assert f"is job {first}, followed by" in words
    wait_for(lambda: len(place.counted()) >= 3, 60, "results")
    # Slurm looks at time limits twice a minute, so the first driver has between no time and half a minute: all of this
    # holds for whichever of them drives.
    wait_for(lambda: driven(place) is not None, 60, "a driver with a successor")
    status = driven(place)
    assert status is not None
    assert status["jobs"]["running"]["ends_at"] - time.time() < 61
    assert len(status["jobs"]["waiting"]) == 1
    wait_for(lambda: "next is job" in place.call("status", str(place.experiment))[1], 60, "the words about it")
    text = place.call("status", str(place.experiment))[1]
    assert re.search(r"job \d+ until .*next is job \d+", text), text
    partitions = {job.name.split("_")[0]: job.partition for job in slurm_cluster.squeue()}
    assert partitions == {"hpctune-driver-run": "main", "train": "scavenge"}, "the profile's defaults hold in the job"

    wait_for(lambda: place.status()["state"] == "finished", 200, "the end")
    wait_for(lambda: not slurm_cluster.squeue(), 30, "an empty queue")
    everything_counted_once(place, trials=15, stop=20)
    assert len(started(place)) >= 2
    reasons = [r.event.reason for r in place.recorded() if isinstance(r.event, e.DriverStopped)]
    assert reasons == ["told to leave (SIGUSR1)"] * (len(reasons) - 1) + ["finished"]
    code, text, _ = place.call("logs", str(place.experiment), "--driver")
    assert code == 0
    assert "ends: the experiment is over" in text


@pytest.mark.nightly
def test_killed_drivers_and_a_lost_node(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=4, stop=50, pause=1.2)
    start(place, "--driver-ahead", "2", "--driver-arg", "exclude=n1,n2")
    wait_for(lambda: len(place.counted()) == 4, 60, "results")
    assert len(drivers(slurm_cluster)) == 3
    first = lease(place)
    os.kill(first["pid"], signal.SIGKILL)
    wait_for(lambda: len(started(place)) == 2, 60, "a successor")
    wait_for(lambda: len(drivers(slurm_cluster)) == 3, 60, "a new successor of the successor")
    second = lease(place)
    assert second["job"] != first["job"]

    # The node is lost, and what ran there lives on: it drives until it dies, and its successor only then.
    slurm_cluster.kill_slurmd(next(job.node_list for job in slurm_cluster.squeue() if job.id == second["job"]))
    wait_for(lambda: slurm_cluster.state(second["job"]) in ("NODE_FAIL", ""), 60, "the end of the job")
    wait_for(lambda: "RUNNING" in drivers(slurm_cluster).values(), 60, "a successor's job")
    third = next(job for job, state in drivers(slurm_cluster).items() if state == "RUNNING")
    note = place.experiment / "drivers" / f"{third}.json"
    wait_for(
        lambda: note.exists() and "waiting for the running driver" in note.read_text(), 60, "the successor to wait"
    )
    assert len(started(place)) == 2
    assert lease(place)["job"] == second["job"]
    os.kill(second["pid"], signal.SIGKILL)
    wait_for(lambda: len(started(place)) == 3, 60, "the successor to take over")
    assert lease(place)["job"] == third

    slurm_cluster.run("scancel", "--signal=USR1", "--batch", third)
    wait_for(lambda: place.status()["state"] == "finished", 120, "the end")
    wait_for(lambda: not slurm_cluster.squeue(), 30, "an empty queue")
    everything_counted_once(place, trials=4, stop=50)


def test_stop_and_only_one_chain(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=3, stop=1000, pause=2.0)
    start(place)
    wait_for(lambda: len(place.counted()) == 3, 60, "results")
    code, _, err = place.call("resume", str(place.experiment), "--sbatch")
    assert (code, len(drivers(slurm_cluster))) == (1, 2)
    assert "is being driven already" in err
    driver = lease(place)["job"]
    assert f"(job {driver})" in err
    slurm_cluster.run("scancel", *drivers(slurm_cluster))  # as a user does who wants to drive from elsewhere
    wait_for(lambda: not drivers(slurm_cluster), 60, "the drivers to leave")
    assert place.status()["state"] == "left"

    code, _, err = place.call("resume", str(place.experiment), "--sbatch")
    assert code == 0, err
    wait_for(lambda: place.status()["driver"]["alive"], 60, "a driver")
    code, _, err = place.call("stop", "--dir", str(place.experiment), "--wait")
    assert code == 0, err
    wait_for(lambda: not slurm_cluster.squeue(), 60, "an empty queue")
    assert place.status()["state_text"] == "finished: stopped by hpctune stop"
    assert len(place.starts()) == 3, "jobs were adopted"


def test_a_driver_that_can_only_fail_is_not_succeeded(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=2, stop=8, pause=0.2)
    config = place.directory / "config.py"
    text = config.read_text().replace("tuner = ", BROKEN).replace('name="run"', 'name="run", callbacks=[Broken()]')
    config.write_text(text)
    start(place, "--driver-ahead", "2")
    wait_for(lambda: not drivers(slurm_cluster), 60, "the end of the chain")
    assert len(started(place)) == 1
    code, text, _ = place.call("logs", str(place.experiment), "--driver")
    assert "this callback is broken" in text
    status = place.status()
    assert status["state"] == "left"
    assert "this callback is broken" in status["driver"]["jobs"]["last"]["note"]
    place.config(trials=2, stop=8, pause=0.2)
    code, _, err = place.call("run", "config.py", "--storage-path", "results", "--resume", "--sbatch")
    assert code == 0, err
    wait_for(lambda: place.status()["state"] == "finished", 120, "the end")
    wait_for(lambda: not slurm_cluster.squeue(), 30, "an empty queue")
    everything_counted_once(place, trials=2, stop=8)


def test_a_successor_of_a_finished_experiment_leaves(place: Place, slurm_cluster: SlurmCluster) -> None:
    """Those that wait could not be cancelled; they start, find that nothing is left to do, and call the rest off."""
    place.config(trials=1, stop=2, pause=0.1)
    start(place)
    wait_for(lambda: place.status()["state"] == "finished", 60, "the end")
    wait_for(lambda: not slurm_cluster.squeue(), 30, "an empty queue")
    before = place.recorded()
    script = place.experiment / "drivers" / "driver.sh"
    job = slurm_cluster.sbatch(script)
    slurm_cluster.sbatch(f"--dependency=afterany:{job}", "--begin=now+1hour", script)
    wait_for(lambda: not slurm_cluster.squeue(), 60, "an empty queue")
    assert place.recorded() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--driver-partition", "nowhere"), "Slurm refused the driver's job. Slurm said: "),
        (("--cluster", "local"), "trials on the cluster 'local' would end with that job"),
        (("--cancel-on-exit",), "at each hand-over"),
        (("--driver-time", "soon"), "time='soon' is not a time limit"),
        (("--driver-arg", "requeue"), "'requeue' is not allowed"),
    ],
)
def test_what_cannot_be_is_told_at_once_and_makes_nothing(
    place: Place, slurm_cluster: SlurmCluster, arguments: tuple[str, ...], words: str
) -> None:
    place.config(trials=1, stop=1, pause=0.1)
    code, out, err = place.call("run", "config.py", "--storage-path", "results", "--sbatch", *arguments)
    assert code != 0
    assert words in err, (out, err)
    assert not place.experiment.exists()
    assert not slurm_cluster.squeue()


def test_dry_run_shows_the_drivers_script(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=1, stop=1, pause=0.1)
    said = start(place, "--dry-run", "--driver-time", "1-0", "--account", "own", "--driver-mem", "3G")
    script = said.partition("Job of the driver:\n")[2]
    for line in ("--time=1440", "--account=own", "--mem=3G", "--signal=B:USR1@120", "--no-requeue"):
        assert f"#SBATCH {line}\n" in script
    assert "-m hpctune.cli.drivejob" in script
    assert not place.experiment.exists()


def test_a_name_and_a_place_that_need_quoting(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    directory = tmp_path / "it's a place; $(touch oops) %j"
    directory.mkdir()
    place = Place(directory)
    place.config(trials=1, stop=2, pause=0.1)
    start(place)
    wait_for(lambda: place.status()["state"] == "finished", 60, "the end")
    wait_for(lambda: not slurm_cluster.squeue(), 30, "an empty queue")
    assert list(place.experiment.glob("drivers/*.out"))
    assert not list(tmp_path.rglob("oops"))


def test_where_jobs_may_not_submit_jobs_the_driver_says_so(place: Place, slurm_cluster: SlurmCluster) -> None:
    """As on sites whose compute nodes have no sbatch."""
    place.config(trials=1, stop=2, pause=0.1)
    start(place, "--driver-arg", "begin=now+1hour")
    script = place.experiment / "drivers" / "driver.sh"
    bare = script.read_text().replace("exec /", "PATH=/nowhere exec /")
    script.write_text(bare)
    subprocess.run(["sbatch", str(script), "--begin=now"], check=True, capture_output=True)
    jobs = drivers(slurm_cluster)
    slurm_cluster.run("scontrol", "update", f"JobId={max(jobs, key=int)}", "StartTime=now")
    wait_for(
        lambda: "a driver cannot run in a job" in place.call("logs", str(place.experiment), "--driver")[1], 60, "words"
    )
    assert not started(place), "the experiment is unharmed"
