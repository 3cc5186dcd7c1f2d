"""Experiments, pickles and queued jobs of earlier versions go on with the version at hand; what is frozen, and how, is
told in ``tests/journals/freeze_experiments.py``."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from hpctune.common import unpickling
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.pool import Left, Ready
from hpctune.model.records import Claim, Exit, Outcome, ResultRow
from hpctune.model.trial import Phase
from hpctune.storage import journal, worker_files
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import read_experiment
from hpctune.storage.run_file import RunTail
from hpctune.storage.worker_files import WorkerTail

JOURNALS = Path(__file__).parents[1] / "journals"
JOBS = sorted(JOURNALS.glob("*-experiment-jobs"))
POOLS = sorted(JOURNALS.glob("*-experiment-pool"))
SCRIPTS = sorted(JOURNALS.glob("*-scripts"))
PICKLES = sorted(JOURNALS.glob("*-pickles.json"))
PATIENCE_S = 90.0


def thawed(frozen: Path, tmp_path: Path) -> ExperimentPaths:
    """A copy that looks as if this machine had been restarted since: no process of then is left."""
    paths = ExperimentPaths(tmp_path / "experiment")
    shutil.copytree(frozen, paths.root, ignore=shutil.ignore_patterns("expected.json"))
    for path in [paths.root, *paths.root.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    for path in paths.jobs.glob("*.json"):
        record = json.loads(path.read_text())
        record["place"]["host"] = socket.gethostname()
        path.write_text(json.dumps(record))
    return paths


def environment(**more: str) -> dict[str, str]:
    """That of a user whose search lies in ``tests/journals``."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HPCTUNE_", "TUNE_", "SLURM_"))}
    return {**clean, "PYTHONPATH": str(JOURNALS), **more}


# -- experiments -------------------------------------------------------------------------------------------------------

BY_PYTHON = """
import sys
import hpctune as tune, frozen_search
known = {"climb": tune.with_parameters(frozen_search.climb, steps=[1.0, 0.5]), "Steps": frozen_search.Steps}
results = tune.Tuner.restore(sys.argv[1], known[sys.argv[2]]).fit()
assert results.num_errors == 0 and results.get_best_result().metrics["total"] > 0
"""


def by_command(paths: ExperimentPaths, trainable: str) -> list[str]:
    return ["-m", "hpctune.cli.main", "resume", str(paths.root), "--verbose", "0"]


def by_python(paths: ExperimentPaths, trainable: str) -> list[str]:
    return ["-c", BY_PYTHON, str(paths.root), trainable]


@pytest.mark.parametrize("how", [by_command, by_python])
@pytest.mark.parametrize("frozen", [*JOBS, *POOLS], ids=lambda path: path.name)
def test_an_experiment_of_an_earlier_version_goes_on_where_it_was(
    frozen: Path, how: Callable[..., list[str]], tmp_path: Path
) -> None:
    paths = thawed(frozen, tmp_path)
    before = json.loads((frozen / "expected.json").read_text())["trials"]
    rows_before = rows_of(paths)
    trainable = json.loads(paths.spec.read_text())["trainable"]
    done = subprocess.run(
        [sys.executable, *how(paths, trainable)], env=environment(), cwd=tmp_path, timeout=PATIENCE_S,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    facts = [recorded.event for recorded in journal.read(paths.journal)]
    state = read_experiment(paths.root).state
    assert {trial.phase for trial in state.trials.values()} == {Phase.TERMINATED}
    assert set(Counter(fact.trial_id for fact in facts if isinstance(fact, e.TrialEnded)).values()) == {1}
    assert len(state.trials) == {"climb": 5, "Steps": 6}[trainable]

    rows = rows_of(paths)
    changed = {fact.trial_id for fact in facts if isinstance(fact, e.ExploitRequested)}
    for trial_id, then in before.items():
        known = rows_before.get(trial_id, [])
        assert len(known) == then["results"]
        assert rows[trial_id][: len(known)] == known
        new = rows[trial_id][len(known) :]
        assert not new or new[0]["since"] == len(known), "from its last checkpoint"
        if trial_id not in changed:
            assert repr(dict(state.trials[trial_id].config)) == then["config"]
    for trial_id, own in rows.items():
        assert [row["training_iteration"] for row in own] == list(range(1, len(own) + 1)), trial_id
    assert set(before) - changed, "some keep their configuration"
    assert (paths.root / "told.txt").read_text() == f"{sum(map(len, rows.values()))}\n"


def rows_of(paths: ExperimentPaths) -> dict[str, list[dict[str, Any]]]:
    """The results that count, by trial."""
    found: dict[str, list[dict[str, Any]]] = {}
    for counted in read_experiment(paths.root, peek=False, with_rows=True).rows:
        found.setdefault(counted.trial_id, []).append(dict(counted.row))
    return found


@pytest.mark.parametrize("frozen", [*JOBS, *POOLS], ids=lambda path: path.name)
def test_what_is_frozen_has_trials_of_each_kind(frozen: Path) -> None:
    trials = json.loads((frozen / "expected.json").read_text())["trials"].values()
    assert {t["phase"] for t in trials} >= {"TERMINATED", "PAUSED", "RUNNING"}
    assert any(t["phase"] == "RUNNING" and t["checkpoints"] for t in trials)
    assert any(t["phase"] == "RUNNING" and not t["checkpoints"] for t in trials)


def test_what_is_frozen_holds_the_classes_that_no_user_names() -> None:
    bundles = [p.read_bytes() for frozen in (*JOBS, *POOLS) for p in frozen.glob("*.pkl")]
    for name in (b"SearchBinding", b"_OfSpec", b"_EachOfSpec", b"_ClassRequest", b"BoundTrainable", b"_Stored"):
        assert any(name in body for body in bundles), name


# -- jobs that wait in a queue -----------------------------------------------------------------------------------------


def frozen_command(script: Path, paths: ExperimentPaths) -> list[str]:
    """What a batch script of then starts, for this interpreter and this directory."""
    lines = [line for line in script.read_text().splitlines() if " -m hpctune." in line]
    words = shlex.split(next(line for line in lines if not line.startswith("#")))
    return [*words[words.index("-u") : words.index("-m") + 2], str(paths.root), *words[words.index("-m") + 3 :]]


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands as jobs that Slurm has requeued; none outlives the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(command: list[str], **env: str) -> subprocess.Popen[str]:
        requeued = environment(SLURM_JOB_ID="7", SLURM_RESTART_COUNT="1", **env)
        one = subprocess.Popen(
            [sys.executable, *command], env=requeued, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        processes.append(one)
        return one

    yield start
    for one in processes:
        one.kill()
        one.communicate()


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "this takes too long"
        time.sleep(0.05)


def running(frozen: Path) -> tuple[str, str]:
    """The id and the directory of a trial that had a checkpoint and was running."""
    trials = json.loads((frozen / "expected.json").read_text())["trials"]
    trial_id = next(i for i, t in trials.items() if t["phase"] == "RUNNING" and t["checkpoints"])
    return trial_id, next(p.name for p in frozen.iterdir() if trial_id in p.name)


@pytest.mark.parametrize("frozen", JOBS, ids=lambda path: path.name)
@pytest.mark.parametrize("scripts", SCRIPTS, ids=lambda path: path.name)
def test_a_job_that_was_queued_then_runs_its_trial_from_its_checkpoint(
    scripts: Path, frozen: Path, tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    paths = thawed(frozen, tmp_path)
    *command, _, attempt = frozen_command(scripts / "job.sh", paths)
    trial_id, dirname = running(frozen)
    check_worker(started([*command, dirname, attempt]), paths, trial_id, dirname, int(attempt))


@pytest.mark.parametrize("frozen", POOLS, ids=lambda path: path.name)
def test_an_assignment_of_then_runs_its_trial_from_its_checkpoint(
    frozen: Path, tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    paths = thawed(frozen, tmp_path)
    trial_id, dirname = running(frozen)
    texts = [worker_files.read_orders(paths.worker(p.name)) for p in paths.workers.iterdir()]
    orders = [found for text in texts for line in text.splitlines() if (found := worker_files.parse_orders(line))]
    command = next(a.command for o in orders for a in o.assignments if dirname in a.command)
    assert command[1:4] == ("-u", "-m", "hpctune.worker")
    check_worker(started([*command[1:4], str(paths.root), *command[5:]]), paths, trial_id, dirname, int(command[-1]))


def check_worker(
    process: subprocess.Popen[str], paths: ExperimentPaths, trial_id: str, dirname: str, attempt: int
) -> None:
    """It is the second run of the attempt, goes on from the checkpoint of the first, and leaves when told to."""
    key = RunKey(trial_id, attempt, 1)

    def records() -> list[Any]:
        return RunTail(paths.trial(dirname).run(attempt, 1), key).read()

    until(lambda: any(isinstance(record, ResultRow) for record in records()), process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    claim, first, *_, last = records()
    assert isinstance(claim, Claim)
    assert claim.restored == "checkpoint_000001"
    assert (first.row["training_iteration"], first.row["since"]) == (2, 1)
    assert isinstance(last, Exit)
    assert last.outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize("frozen", POOLS, ids=lambda path: path.name)
@pytest.mark.parametrize("scripts", SCRIPTS, ids=lambda path: path.name)
def test_a_worker_that_was_queued_then_gets_ready(
    scripts: Path, frozen: Path, tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    paths = thawed(frozen, tmp_path)
    command = frozen_command(scripts / "worker.sh", paths)
    worker = started(command)
    tail = paths.worker(command[-1]).run(1)
    until(lambda: any(isinstance(record, Ready) for record in WorkerTail(tail).read()), worker)
    worker.send_signal(signal.SIGTERM)
    output, _ = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0, output
    assert isinstance(WorkerTail(tail).read()[-1], Left)


@pytest.mark.parametrize("scripts", SCRIPTS, ids=lambda path: path.name)
def test_a_driver_job_that_was_queued_then_finds_its_experiment_over(
    scripts: Path, tmp_path: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    """It reads the experiment with everything that happened in it, and leaves."""
    paths = thawed(min(JOURNALS.glob("*-every-event")), tmp_path)
    driver = started(frozen_command(scripts / "driver.sh", paths))
    output, _ = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == 0, output
    assert "nothing is left to drive" in output


# -- pickles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", PICKLES, ids=lambda path: path.name)
def test_every_kind_of_object_of_then_can_be_loaded(frozen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(JOURNALS)
    made = json.loads(frozen.read_text())
    assert len(made) > 50
    for name, body in made:
        value = unpickling.loads(base64.b64decode(body))
        today = value.__qualname__ if isinstance(value, type) else type(value).__qualname__
        assert today == name, "a class of the public interface has another name"
        repr(value)
        if name in ("SlurmOptions", "LocalOptions"):
            assert value == type(value)(), "each field has its own value, not that of another place"
        assert type(pickle.loads(cloudpickle.dumps(value))) is type(value)


def test_there_is_something_frozen_of_each_kind() -> None:
    assert all((JOBS, POOLS, SCRIPTS, PICKLES))
