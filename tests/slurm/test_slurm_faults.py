"""Slurm and the site at their worst: outages, lost answers, limits, jobs that wait for ever, nodes that lack things."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpctune.model import events as e
from hpctune.storage.reader import read_experiment
from tests.support.filesystem_support import two_clients

from .cluster import SlurmCluster, wait_for
from .conftest import running_cluster
from .search import Search

pytestmark = pytest.mark.slurm

CLIMB = """
import os, time
from pathlib import Path
import hpctune as tune


def climb(config):
    checkpoint, done = tune.get_checkpoint(), 0
    if checkpoint is not None:
        done = int(Path(checkpoint.path, "i").read_text())
    for i in range(done + 1, STEPS + 1):
        time.sleep(0.25)
        with tune.checkpoint_dir(i) as directory:
            Path(directory, "i").write_text(str(i))
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        tune.report(i=i, sees=sum("hpctune-clients" in mount for mount in mounts))


tuner = tune.Tuner(
    climb,
    param_space={"x": tune.uniform(0, 1)},
    tune_config=tune.TuneConfig(num_samples=TRIALS),
    run_config=tune.RunConfig(name="run"),
    slurm=tune.SlurmOptions(MORE),
)
"""


def climb(trials: int = 3, steps: int = 8, more: str = "") -> str:
    return CLIMB.replace("TRIALS", str(trials)).replace("STEPS", str(steps)).replace("MORE", more)


def status(search: Search) -> dict[str, Any]:
    hpctune = Path(sys.executable).with_name("hpctune")
    command = [str(hpctune), "status", str(search.experiment), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def begun(search: Search, kind: type[Any] = e.RunStarted) -> bool:
    return (search.experiment / "journal").is_dir() and any(isinstance(fact, kind) for fact in search.facts())


def every_result_once(search: Search, trials: int = 3, steps: int = 8) -> None:
    rows: dict[str, list[int]] = {}
    for fact in search.facts():
        if isinstance(fact, e.ResultReported) and fact.verdict is e.Verdict.COUNTED:
            rows.setdefault(fact.run.trial_id, []).append(fact.row["i"])
    assert list(rows.values()) == [list(range(1, steps + 1))] * trials


Start = Callable[..., Search]


def test_a_controller_that_is_down_for_a_while(searches: Start, slurm_cluster: SlurmCluster) -> None:
    search = searches(climb(steps=16, more="timeout_s=5"))
    wait_for(lambda: begun(search, e.ResultReported), 60, "first results")
    slurm_cluster.stop_slurmctld()
    try:
        wait_for(lambda: "squeue failed" in status(search)["note"], 90, "the outage in the status")
        rows = sum(isinstance(fact, e.ResultReported) for fact in search.facts())
        assert rows > 3, "results are taken all the same"
    finally:
        slurm_cluster.start_slurmctld()
    search.finish()
    every_result_once(search, steps=16)
    assert sum(isinstance(fact, e.SubmitRequested) for fact in search.facts()) == 3


@pytest.fixture
def faulty_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a script of this name before the real command, which it finds as ``$REAL``; ``$N`` counts the calls."""
    folder = tmp_path / "faulty"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def add(name: str, body: str) -> None:
        real = shutil.which(name)
        assert real is not None
        counter = folder / f".{name}"
        script = folder / name
        script.write_text(f"#!/bin/bash\nREAL={real}\necho >> {counter}\nN=$(wc -l < {counter})\n{body}\n")
        script.chmod(0o755)

    return add


def test_submissions_whose_answers_are_lost_make_no_job_twice(
    searches: Start, slurm_cluster: SlurmCluster, faulty_slurm: Callable[[str, str], None]
) -> None:
    """The controller takes the job; sbatch says that it timed out, or is silent for ever."""
    lost = 'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1'
    tested = 'for a in "$@"; do [ "$a" = --test-only ] && exec $REAL "$@"; done'
    faulty_slurm(
        "sbatch", f'{tested}\n$REAL "$@" > /tmp/answer.$$; rm /tmp/answer.$$\n[ $N -le 3 ] && {{ {lost}; }}\nsleep 60'
    )
    search = searches(climb(more="timeout_s=5, poll_s=5"))
    search.finish()
    every_result_once(search)
    facts = search.facts()
    assert any(isinstance(fact, e.SubmitUnanswered) for fact in facts)
    starts = [fact.run.trial_id for fact in facts if isinstance(fact, e.RunStarted)]
    assert len(starts) == len(set(starts)) == 3
    identity = read_experiment(search.experiment).state.spec.experiment_id
    jobs = slurm_cluster.run("squeue", "--noheader", "--array", "--states=all", "--format=%i %k").splitlines()
    assert len([job for job in jobs if identity in job]) == 3, jobs


def test_questions_that_fail_now_and_then_change_nothing(
    searches: Start, slurm_cluster: SlurmCluster, faulty_slurm: Callable[[str, str], None]
) -> None:
    failing = 'echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1'
    faulty_slurm("squeue", f'case $((N % 3)) in 0) {failing};; 1) sleep 0.2;; esac\nexec $REAL "$@"')
    search = searches(climb(more="poll_s=5"))
    search.finish()
    every_result_once(search)
    assert sum(isinstance(fact, e.SubmitRequested) for fact in search.facts()) == 3


def test_held_jobs_are_told_and_go_on_when_released(searches: Start, slurm_cluster: SlurmCluster) -> None:
    search = searches(climb(trials=1, steps=2), "--sbatch-arg", "hold")
    wait_for(lambda: slurm_cluster.squeue(), 60, "the job")
    wait_for(lambda: "held by you" in str(status(search)["waiting"]), 60, "the reason")
    (waiting,) = status(search)["waiting"]
    assert waiting["reason"] == "JobHeldUser: held by you: scontrol release JOB"
    slurm_cluster.run("scontrol", "release", slurm_cluster.squeue()[0].id)
    search.finish()
    every_result_once(search, trials=1, steps=2)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("DRAIN", "Required partition not available (inactive or drain)"),
        ("DOWN", "PartitionDown: the partition is down"),
    ],
)
def test_a_partition_that_starts_nothing_is_told_and_waited_for(
    searches: Start, slurm_cluster: SlurmCluster, state: str, words: str
) -> None:
    slurm_cluster.run("scontrol", "update", "PartitionName=main", f"State={state}")
    search = searches(climb(trials=1, steps=2), "--partition", "main")
    wait_for(lambda: (search.experiment / "journal").is_dir() and status(search)["waiting"], 60, "the trial")
    wait_for(lambda: words in status(search)["waiting"][0]["reason"], 60, "the reason")
    slurm_cluster.run("scontrol", "update", "PartitionName=main", "State=UP")
    search.finish()
    every_result_once(search, trials=1, steps=2)


def test_a_preempted_trial_is_said_to_be_preempted(searches: Start, slurm_cluster: SlurmCluster) -> None:
    search = searches(climb(trials=1, steps=14), "--partition", "scavenge", "-w", "n1")
    wait_for(lambda: begun(search, e.ResultReported), 60, "a result")
    urgent = slurm_cluster.sbatch("-p", "urgent", "-w", "n1", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")
    search.finish()
    wait_for(lambda: slurm_cluster.state(urgent) == "COMPLETED", 60, "the urgent job's end")
    every_result_once(search, trials=1, steps=14)
    reasons = [fact.reason for fact in search.facts() if isinstance(fact, e.RetryScheduled)]
    starts = [fact for fact in search.facts() if isinstance(fact, e.RunStarted)]
    assert len(starts) >= 2
    assert all("was preempted" in reason for reason in reasons), reasons


def test_an_interpreter_that_the_node_does_not_have_is_named(searches: Start, slurm_cluster: SlurmCluster) -> None:
    search = searches(climb(trials=1, more='python="/nonexistent/python"'))
    out = search.finish(1)
    (ended,) = [fact for fact in search.facts() if isinstance(fact, e.TrialEnded)]
    assert ended.error is not None
    assert "/nonexistent/python" in str(ended.error), ended.error
    assert "JobFailed" in out or "/nonexistent/python" in out


def test_a_trial_that_leaves_without_a_word(searches: Start, slurm_cluster: SlurmCluster) -> None:
    """It exits 0 and has reported nothing: that is no end in good order."""
    text = climb(trials=1).replace("def climb(config):", "def climb(config):\n    os._exit(0)")
    search = searches(text)
    search.finish(1)
    (ended,) = [fact for fact in search.facts() if isinstance(fact, e.TrialEnded)]
    assert ended.error is not None
    assert "ended as COMPLETED without an exit record" in str(ended.error)


NAMES = [
    "it's",
    '"quoted"',
    "$(touch CANARY)",
    "`touch CANARY`",
    "-rf",
    "a\nb; touch CANARY",
    "ünï✓",
    "%j %% \\",
    "--x y",
]

HOSTILE = """
import os
import hpctune as tune

NAMES = {names!r}


def train(config):
    tune.report(loss=1.0, name=config["name"])


trials = tune.run(
    train,
    name={experiment!r},
    config={{"name": tune.grid_search(NAMES)}},
    trial_name_creator=lambda trial: NAMES[trial.index] if hasattr(trial, "index") else trial.config["name"],
    trial_dirname_creator=lambda trial: trial.config["name"].replace("/", "_"),
    storage_path="results",
    cluster=tune.SlurmOptions(comment="it's `touch CANARY` $(touch CANARY)", env={{"ODD": "$(touch CANARY) 'x'"}}),
    verbose=0,
)
assert [t.last_result["name"] for t in trials.trials] == NAMES
print("finished")
"""


def test_no_name_reaches_a_shell(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    """Names of the experiment, its place, its trials, their directories, their values: all are data."""
    place = tmp_path / "-a `touch CANARY` $(touch CANARY) 'b' \"c\""
    place.mkdir()
    script = place / "search.py"
    script.write_text(HOSTILE.format(names=NAMES, experiment="$(touch CANARY); it's `touch CANARY`"))
    done = subprocess.run(
        [sys.executable, script.name], cwd=place, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.stdout == "finished\n", done.stdout + done.stderr
    assert not list(tmp_path.rglob("CANARY"))
    assert not (Path.home() / "CANARY").exists()
    hpctune = str(Path(sys.executable).with_name("hpctune"))
    for command in ("status", "list", "fsck"):
        (experiment,) = (place / "results").iterdir()
        arguments = [hpctune, command, str(experiment)]
        assert (
            subprocess.run(arguments, cwd=place, capture_output=True, text=True, timeout=60, check=False).returncode
            == 0
        )
    assert not list(tmp_path.rglob("CANARY"))


def test_secrets_of_the_environment_are_written_nowhere(
    searches: Start, slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": "sesame-17-aws", "WANDB_API_KEY": "sesame-17-wandb", "HPCTUNE_X": "sesame-17-x"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    text = climb(trials=2, steps=2).replace("sees=", 'key=len(os.environ["WANDB_API_KEY"]), sees=')
    search = searches(text, "--sbatch-arg", "hold")
    wait_for(lambda: len(slurm_cluster.squeue()) == 2, 60, "both jobs")

    def written() -> list[str]:
        files = [path for path in search.directory.rglob("*") if path.is_file()]
        return [str(path) for path in files if b"sesame-17" in path.read_bytes()]

    assert list(search.experiment.glob("jobs/*.sh")), "the scripts are there"
    assert written() == []
    for job in slurm_cluster.squeue():
        slurm_cluster.run("scontrol", "release", job.id)
    search.finish()
    every_result_once(search, trials=2, steps=2)
    assert written() == []


def test_a_search_whose_nodes_see_everything_seconds_late(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    """Driver and jobs see one directory through two mounts with the caches of a shared filesystem."""
    with two_clients(cache_s=3) as clients:
        python = clients.python_of_the_other(sys.executable)
        script = tmp_path / "search.py"
        script.write_text(climb(more=f"python={str(python)!r}, use_srun=False") + "tuner.fit()\nprint('finished')\n")
        env = {**os.environ, "HPCTUNE_RESULT_DIR": str(clients.one / "results")}
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.stdout.endswith("finished\n"), done.stdout + done.stderr
        search = object.__new__(Search)
        search.experiment = clients.one / "results" / "run"
        every_result_once(search)
        facts = search.facts()
        assert sum(isinstance(fact, e.SubmitRequested) for fact in facts) == 3
        seen = {fact.row["sees"] for fact in facts if isinstance(fact, e.ResultReported)}
        assert seen == {3}, "both mounts, and the other one in the place of the first"


@pytest.mark.nightly
def test_a_limit_of_submitted_jobs_is_kept_to_and_told(tmp_path: Path) -> None:
    """MaxSubmitJobs of the accounting database: back off, go on, tell."""
    with running_cluster("--max-submit", "2"):
        search = Search(tmp_path, climb(trials=4, steps=2))
        search.finish()
    every_result_once(search, trials=4, steps=2)
    refused = [fact for fact in search.facts() if isinstance(fact, e.SubmitRefused)]
    assert any("SubmitJob" in fact.reason for fact in refused), {fact.reason for fact in refused}
    assert not [fact.reason for fact in refused if fact.permanent]


HUGE = """
import hpctune as tune

def train(config):
    for i in range(1, 4):
        tune.report(loss=config["x"] + i, blob="x" * 30_000_000, curve=list(range(150_000)))

tune.run(
    train, name="run", metric="loss", mode="min", config={"x": tune.grid_search([1, 2, 3])},
    cluster=tune.SlurmOptions(mem="500M"),
)
"""


@pytest.mark.nightly
def test_huge_results_cost_their_huge_values_only(searches: Start) -> None:
    search = searches(HUGE)
    search.finish()
    for x, rows in search.rows().items():
        assert [(row["loss"], len(row["curve"])) for row in rows] == [(x + i, 150_000) for i in range(1, 4)]
        assert all(row["blob"].startswith("(left out: 30.0 MB as text") for row in rows)
    assert len(search.rows()) == 3
    told = [path.read_text() for path in search.experiment.glob("*/stderr")]
    assert [text.count("'blob' of a result is left out") for text in told] == [1] * 3
    assert status(search)["best"]["trial_id"].endswith("_00000")
