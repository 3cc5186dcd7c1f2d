"""`hpctune run` on a real Slurm: the main job, the driver killed and resumed, requests that Slurm refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.model import events as e
from hpctune.storage import journal

from .cluster import SCRIPT, SlurmCluster, wait_for

pytestmark = pytest.mark.slurm

CONFIG = """
import json, os, time
import hpctune as tune


def train(config):
    checkpoint = tune.get_checkpoint()
    start = 0
    if checkpoint is not None:
        start = json.loads(open(os.path.join(checkpoint.path, "state.json")).read())["step"] + 1
    with open(config["diary"], "a") as diary:
        diary.write(json.dumps({"trial": tune.get_trial_id(), "from": start, "at": time.time()}) + "\\n")
    for step in range(start, 50):
        with tune.checkpoint_dir(step) as directory:
            with open(os.path.join(directory, "state.json"), "w") as file:
                json.dump({"step": step}, file)
        tune.report(loss=(config["x"] - 0.3) ** 2 + 1 / (step + 1), step=step,
                    cuda=os.environ.get("CUDA_VISIBLE_DEVICES"), node=os.environ["SLURMD_NODENAME"])
        time.sleep(config["pause"])


tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 1, "gpu": 1}),
    param_space={"x": tune.uniform(0, 1), "pause": PAUSE, "diary": "DIARY"},
    tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=TRIALS),
    run_config=tune.RunConfig(
        name="run", stop={"training_iteration": STOP}, checkpoint_config=tune.CheckpointConfig(num_to_keep=1)
    ),
)
"""


class Place:
    """A directory with a config, and the command line in it."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.experiment = directory, directory / "results" / "run"
        self.diary = directory / "diary.jsonl"
        self.started: list[subprocess.Popen[str]] = []

    def config(self, trials: int, stop: int, pause: float) -> None:
        text = CONFIG.replace("TRIALS", str(trials)).replace("STOP", str(stop)).replace("PAUSE", str(pause))
        (self.directory / "config.py").write_text(text.replace("DIARY", str(self.diary)))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        hpctune = shutil.which("hpctune", path=str(Path(sys.executable).parent)) or "hpctune"
        process = subprocess.Popen(
            [hpctune, *arguments], cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def call(self, *arguments: str, timeout: float = 120) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        return self.start("run", "config.py", "--storage-path", "results", "--cluster", "slurm", *arguments)

    def status(self) -> dict[str, Any]:
        code, out, err = self.call("status", str(self.experiment), "--json")
        assert code == 0, err
        data: dict[str, Any] = json.loads(out)
        return data

    def recorded(self) -> list[e.Recorded]:
        return list(journal.read(self.experiment / "journal"))

    def counted(self) -> dict[str, list[int]]:
        """By trial: the iterations that count, in order."""
        rows: dict[str, list[int]] = defaultdict(list)
        for r in self.recorded():
            if isinstance(r.event, e.ResultReported) and r.event.verdict is e.Verdict.COUNTED:
                rows[r.event.run.trial_id].append(r.event.row["training_iteration"])
        return rows

    def rows(self) -> list[dict[str, Any]]:
        """A plain reading of the result.json files."""
        files = sorted(self.experiment.glob("*/result.json"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def starts(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.diary.read_text().splitlines()]


@pytest.fixture
def place(tmp_path: Path, slurm_cluster: SlurmCluster) -> Iterator[Place]:
    here = Place(tmp_path)
    yield here
    for process in here.started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    slurm_cluster.cancel_all()


@pytest.mark.nightly
def test_forty_trials_over_four_nodes_with_a_gpu_each(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=40, stop=5, pause=0.2)
    driver = place.run()
    wait_for(lambda: place.experiment.is_dir() and len(place.counted()) >= 3, 90, "first results")
    before = place.status()
    assert before["driver"]["alive"] is True
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, err

    rows = place.rows()
    by_trial: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_trial[row["trial_id"]].append(row)
    assert len(by_trial) == 40
    assert all([r["training_iteration"] for r in mine] == [1, 2, 3, 4, 5] for mine in by_trial.values())
    assert {r["node"] for r in rows} == set(slurm_cluster.nodes)
    assert {r["cuda"] for r in rows} == {"0", "1", "2", "3"}
    spans = [(m[0]["node"], m[0]["cuda"], m[0]["timestamp"], m[-1]["timestamp"]) for m in by_trial.values()]
    for i, (node, gpu, begin, end) in enumerate(spans):
        sharing = [s for s in spans[i + 1 :] if s[:2] == (node, gpu) and s[2] < end and begin < s[3]]
        assert not sharing, f"two trials at once on GPU {gpu} of {node}"

    best = min((mine[-1] for mine in by_trial.values()), key=lambda r: r["loss"])
    code, text, err = place.call("best", str(place.experiment), "--json")
    assert code == 0, err
    told = json.loads(text)
    told = told[0] if isinstance(told, list) else told
    assert told["trial_id"] == best["trial_id"]
    assert told["config"]["x"] == best["config"]["x"]

    directories = [d for d in place.experiment.iterdir() if (d / "result.json").exists()]
    for directory in directories:
        files = [p for p in directory.iterdir() if p.is_file()]
        assert len(files) <= 8, files
        assert [p.name for p in directory.glob("checkpoint_*")] == ["checkpoint_000005"]
    assert not list((place.experiment / "jobs").iterdir())
    assert "best" in out.lower()


def test_driver_killed_and_resumed(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=12, stop=12, pause=0.3)
    driver = place.run("--max-concurrent", "6")
    wait_for(lambda: place.experiment.is_dir() and len(place.counted()) >= 4, 90, "first results")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert slurm_cluster.squeue(), "the jobs go on without their driver"
    gone = place.status()
    assert gone["driver"]["alive"] is False
    kills = 0
    while kills < 3:  # and again, in the middle of whatever it does
        again = place.start("resume", str(place.experiment))
        folded = len(place.recorded())
        wait_for(lambda: len(place.recorded()) > folded + 8, 90, "the new driver to record something")  # noqa: B023
        again.send_signal(signal.SIGKILL)
        again.communicate()
        kills += 1
    code, out, err = place.call("resume", str(place.experiment))
    assert code == 0, err + out
    counted = place.counted()
    assert len(counted) == 12
    assert all(iterations == list(range(1, 13)) for iterations in counted.values())
    starts = Counter(s["trial"] for s in place.starts())
    assert all(count == 1 for count in starts.values()), f"a trial ran twice: {starts}"


def test_requeued_job_goes_on_from_its_checkpoint(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=2, stop=14, pause=0.3)
    driver = place.run()
    wait_for(lambda: place.experiment.is_dir() and len(place.counted()) == 2, 90, "results of both trials")
    wait_for(lambda: min(map(len, place.counted().values())) >= 4, 90, "some iterations")
    job = slurm_cluster.squeue()[0].id
    subprocess.run(["scontrol", "requeue", job], check=True)
    _, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, err
    assert all(iterations == list(range(1, 15)) for iterations in place.counted().values())
    starts = place.starts()
    restarted = [s for s in starts if s["from"] > 0]
    assert len(starts) == 3
    assert len(restarted) == 1
    assert restarted[0]["from"] >= 4


@pytest.mark.nightly
def test_a_job_that_is_requeued_after_its_trial_is_over_harms_nothing(
    place: Place, slurm_cluster: SlurmCluster
) -> None:
    """By scontrol, as some versions of Slurm do by themselves to a preempted job that has ended well after all.

    If a driver is there, it cancels the job; if none is, the job finds its trial over.
    """
    place.config(trials=2, stop=5, pause=0.6)
    driver = place.run("--max-concurrent", "1")

    def ended() -> list[str]:
        facts = [r.event for r in place.recorded()] if (place.experiment / "journal").is_dir() else []
        return [fact.trial_id for fact in facts if isinstance(fact, e.TrialFinalized)]

    def run_again(trial: str) -> None:
        (job,) = {
            r.event.job_id
            for r in place.recorded()
            if isinstance(r.event, e.SubmitAcknowledged) and r.event.trial_id == trial
        }
        subprocess.run(["scontrol", "requeue", job], check=True)
        wait_for(lambda: slurm_cluster.state(job) in ("COMPLETED", "CANCELLED"), 60, "the end of the requeued job")

    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in place.experiment.rglob("*") if path.is_file()}

    wait_for(lambda: len(ended()) == 1, 90, "the end of the first trial")
    run_again(ended()[0])
    _, err = driver.communicate(timeout=200)
    assert driver.returncode == 0, err
    before = written()
    run_again(ended()[1])
    assert {path.name for path, at in written().items() if before.get(path) != at} == {"stdout"}
    assert "nothing to do" in next(place.experiment.glob("*_00001_*/stdout")).read_text()
    assert list(place.counted().values()) == [[1, 2, 3, 4, 5]] * 2
    assert len(place.starts()) == 2
    assert len(ended()) == 2


def test_interrupt_leaves_the_jobs_running(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=3, stop=30, pause=0.3)
    driver = place.run()
    wait_for(lambda: place.experiment.is_dir() and len(place.counted()) == 3, 90, "results")
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=30)
    assert driver.returncode == 3, (out, err)
    assert "hpctune resume" in out + err
    assert len(slurm_cluster.squeue()) == 3
    code, out, err = place.call("resume", str(place.experiment))
    assert code == 0, err
    assert all(iterations == list(range(1, 31)) for iterations in place.counted().values())
    assert len(place.starts()) == 3


def test_cancel_on_exit_cancels_and_resumes(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=2, stop=12, pause=0.3)
    driver = place.run("--cancel-on-exit")
    wait_for(lambda: place.experiment.is_dir() and len(place.counted()) == 2, 90, "results")
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=30)
    assert driver.returncode == 3
    wait_for(lambda: not [j for j in slurm_cluster.squeue() if j.state != "COMPLETING"], 90, "an empty queue")
    code, _, err = place.call("resume", str(place.experiment))
    assert code == 0, err
    assert all(iterations == list(range(1, 13)) for iterations in place.counted().values())


def test_stop_one_trial_and_then_all(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=3, stop=1000, pause=0.2)
    driver = place.run()
    wait_for(lambda: place.experiment.is_dir() and len(place.counted()) == 3, 90, "results")
    victim = sorted(place.counted())[0]
    code, _, err = place.call("stop", victim, "--dir", str(place.experiment))
    assert code == 0, err
    wait_for(lambda: len(slurm_cluster.squeue()) == 2, 90, "one job less")
    code, _, err = place.call("stop", "--dir", str(place.experiment))
    assert code == 0, err
    driver.communicate(timeout=60)
    assert driver.returncode in (0, 1, 3)
    assert not [j for j in slurm_cluster.squeue() if j.state != "COMPLETING"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--partition", "nowhere"), ("nowhere", "main")),
        (("--mem", "900G"), ("921600 MiB", "20000")),
        (("--set", "pause=0", "--time", "99-00:00:00", "--partition", "short"), ("short",)),
        (("--nodes", "99"), ("nodes=99",)),
        (("--partition", "main,short"), ("short allows 00:05:00", "01:00:00, the default of main", "--time")),
        (("--nodelist", "n[1-2]"), ("names 2 nodes", "nodes=2")),
    ],
)
def test_a_request_that_slurm_refuses_is_told_at_once(
    place: Place, slurm_cluster: SlurmCluster, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    place.config(trials=500, stop=1, pause=0.0)
    process = place.run(*flags)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (1, 2)
    assert "Traceback" not in out + err
    assert err.startswith("hpctune: error:"), err
    for word in words:
        assert word in err
    assert not slurm_cluster.squeue()


def test_dry_run_shows_script_and_configurations_and_makes_nothing(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=7, stop=1, pause=0.0)
    process = place.run("--dry-run", "--partition", "main", "--time", "10")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "#SBATCH --partition=main" in out
    assert "hpctune.worker" in out
    assert out.count("0.") >= 5
    assert not place.experiment.exists()
    assert not slurm_cluster.squeue()


def test_status_changes_nothing_and_counts_calls(place: Place, slurm_cluster: SlurmCluster) -> None:
    place.config(trials=2, stop=3, pause=0.1)
    code = place.run().wait(timeout=90)
    assert code == 0
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in place.experiment.rglob("*")}
    data = place.status()
    assert data["cluster"]["calls"] >= 3
    assert data["cluster"]["calls_budget_per_minute"] == 60
    code, out, _ = place.call("status", str(place.experiment))
    assert code == 0
    assert "Calls to slurm" in out
    after = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in place.experiment.rglob("*")}
    assert after == before
    assert os.access(place.experiment, os.W_OK)


def test_a_wrong_account_is_told_in_slurms_words(tmp_path: Path) -> None:
    """Accounts mean something only where there is an accounting database."""
    cluster = SCRIPT.parent / "slurm-cluster"
    config = Place(tmp_path)
    config.config(trials=500, stop=1, pause=0.0)
    hpctune = Path(sys.executable).parent / "hpctune"
    command = [
        str(hpctune),
        "run",
        "config.py",
        "--cluster",
        "slurm",
        "--account",
        "nobody",
        "--storage-path",
        "results",
    ]
    folder = tempfile.mkdtemp(prefix="hpctune-acct-")
    up = [sys.executable, str(cluster), "run", "--accounting", "--enforce", "associations", "--dir", folder, "--"]
    done = subprocess.run([*up, *command], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "hpctune: error:" in done.stderr
    assert "Invalid account" in done.stderr
    assert "account=nobody" in done.stderr
    assert not config.experiment.exists()


def test_a_trial_that_somebody_cancels_is_not_started_again(place: Place, slurm_cluster: SlurmCluster) -> None:
    """It reports all the time, so it leaves in good order on SIGTERM; what Slurm says of its job decides."""
    place.config(trials=2, stop=12, pause=0.3)
    driver = place.run()
    wait_for(lambda: place.diary.exists() and len(place.starts()) == 2 and len(place.rows()) >= 4, 60)
    first = next(r.event for r in place.recorded() if isinstance(r.event, e.RunStarted))
    slurm_cluster.run("scancel", first.job_id)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode != 0, out
    (ended,) = [r.event for r in place.recorded() if isinstance(r.event, e.TrialEnded) and r.event.error]
    assert ended.trial_id == first.run.trial_id
    assert ended.error is not None
    assert ended.error.kind == "JobCancelled"
    assert "hpctune resume" in out + err
    code, out, err = place.call("resume", str(place.experiment), "--errored")
    assert code == 0, out + err
    assert place.counted() == {i: list(range(1, 13)) for i in place.counted()}
    again = [start["from"] for start in place.starts() if start["trial"] == ended.trial_id]
    assert len(again) == 2
    assert again[1] > 0, "it went on from its checkpoint"
