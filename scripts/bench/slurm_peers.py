"""hpctune beside submitit and Optuna on a Slurm of four nodes with two CPUs each, which the script brings up.

    python scripts/bench/slurm_peers.py [--trials 500] [--seconds 1.0] [--workers 8] [--rows pooled ...] \
        [--peers /path/to/python/with/submitit/and/optuna]

Each row runs the same function, which sleeps so many seconds, so many times, in jobs of one CPU:

- ``pooled``: hpctune, a pool of workers
- ``arrays``: hpctune, a job for each trial, submitted as arrays
- ``submitit``: all jobs submitted in a loop, then their results taken
- ``submitit-array``: the same by ``map_array``
- ``optuna``: ask, submit a job by submitit, tell, with as many jobs in flight as there are workers

Printed: the makespan, against the ideal (trials x seconds / CPUs); the share of the allocated core-seconds that was
spent in the function, by its own stamps and by Slurm's start and end of each job (to the second); and the requests that
slurmctld got from clients (sdiag), those that jobs cause by themselves not counted. submitit does not ask slurmctld for
states: it calls sacct, which asks slurmdbd; how often is printed, too.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[1] / "slurm-cluster"
NODES, CPUS = 4, 2
OURS, THEIRS = ("pooled", "arrays"), ("submitit", "submitit-array", "optuna")
SUBMITS = ("SUBMIT_BATCH_JOB",)
QUERIES = ("JOB_INFO", "JOB_USER_INFO", "PARTITION_INFO", "NODE_INFO", "BUILD_INFO", "JOB_READY")
CANCELS = ("KILL_JOB", "CANCEL_JOB")


def work(seconds: float, stamps: str) -> float:
    """The user's function: sleeps, and says when."""
    began = time.time()
    time.sleep(seconds)
    line = f"{began} {time.time()}\n".encode()
    file = os.open(stamps, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line)
    os.close(file)
    return began % 1


# -- one row each, in a process of its own ---------------------------------------------------------------------------


def train(config: dict[str, Any]) -> None:
    """``work`` as a trial."""
    import hpctune

    hpctune.report(loss=work(config["seconds"], config["stamps"]))


def hpctune_row(row: str, given: argparse.Namespace, stamps: str) -> None:
    """Our own, with default options but for what a job needs."""
    import hpctune as tune

    pool = {"workers": given.workers} if row == "pooled" else {}
    tune.run(
        train, name="bench", config={"x": tune.uniform(0, 1), "seconds": given.seconds, "stamps": stamps},
        num_samples=given.trials, verbose=0, storage_path=given.dir,
        cluster=tune.SlurmOptions(mem="200M", time=60, **pool),
    )  # fmt: skip


def executor(given: argparse.Namespace) -> Any:
    """submitit's, asking for the same."""
    import submitit

    made = submitit.AutoExecutor(folder=Path(given.dir) / "submitit", cluster="slurm")
    made.update_parameters(timeout_min=60, cpus_per_task=1, slurm_mem="200M", slurm_array_parallelism=1000)
    return made


def submitit_row(row: str, given: argparse.Namespace, stamps: str) -> None:
    """Submit all, take all."""
    made = executor(given)
    if row == "submitit-array":
        jobs = made.map_array(work, [given.seconds] * given.trials, [stamps] * given.trials)
    else:
        jobs = [made.submit(work, given.seconds, stamps) for _ in range(given.trials)]
    for job in jobs:
        job.result()
    note_sacct(given, jobs[0])


def optuna_row(given: argparse.Namespace, stamps: str) -> None:
    """Ask, submit, tell."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, made = optuna.create_study(sampler=optuna.samplers.RandomSampler(0)), executor(given)
    running: list[tuple[Any, Any]] = []
    asked = told = 0
    while told < given.trials:
        while asked < given.trials and len(running) < given.workers:
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            running.append((trial, made.submit(work, given.seconds, stamps)))
            asked += 1
        for trial, job in [pair for pair in running if pair[1].done()]:
            study.tell(trial, job.result())
            running.remove((trial, job))
            told += 1
        time.sleep(0.1)
    note_sacct(given, job)


def note_sacct(given: argparse.Namespace, job: Any) -> None:
    """How often submitit has called sacct."""
    (Path(given.dir) / "sacct").write_text(str(job.watcher.num_calls))


# -- measuring -------------------------------------------------------------------------------------------------------


def requests() -> Counter[str]:
    """How many requests of each kind slurmctld has got."""
    text = subprocess.run(["sdiag"], capture_output=True, text=True, check=True).stdout
    return Counter({name: int(n) for name, n in re.findall(r"REQUEST_(\w+)\s+\(\s*\d+\)\s+count:(\d+)", text)})


def sum_of(counted: Counter[str], kinds: tuple[str, ...]) -> int:
    """The requests of these kinds."""
    return sum(n for name, n in counted.items() if any(kind in name for kind in kinds))


def jobs() -> dict[str, tuple[str, float, float]]:
    """Every job that Slurm remembers: its state, start and end."""
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%S|%e"]
    text = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "SLURM_TIME_FORMAT": "%s"}
    ).stdout
    found = {}
    for line in text.splitlines():
        job_id, state, start, end = line.split("|")
        found[job_id] = (state, float(start) if start.isdigit() else 0.0, float(end) if end.isdigit() else 0.0)
    return found


def measure(row: str, given: argparse.Namespace, place: Path) -> dict[str, float]:
    """Run one row; what it took."""
    directory = place / row
    directory.mkdir(mode=0o755)
    python = sys.executable if row in OURS else given.peers
    numbers = ["--trials", str(given.trials), "--seconds", str(given.seconds), "--workers", str(given.workers)]
    command = [python, __file__, *numbers, "--one", row, "--dir", str(directory)]
    known, before, began = set(jobs()), requests(), time.time()
    with (directory / "log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    wall_s = time.time() - began
    caused = requests() - before
    while any(state in ("PENDING", "RUNNING", "COMPLETING") for state, _, _ in jobs().values()):
        time.sleep(0.5)
    spans = [(start, end) for job_id, (_, start, end) in jobs().items() if job_id not in known and start and end]
    stamps = [tuple(map(float, line.split())) for line in (directory / "stamps").read_text().splitlines()]
    assert len(stamps) == given.trials, f"{row}: {len(stamps)} of {given.trials} trials ran"
    allocated = sum(end - start for start, end in spans)
    print(f"    {row}: requests {dict(caused.most_common())}", file=sys.stderr)
    return {
        "wall_s": wall_s,
        "user": sum(end - start for start, end in stamps) / max(allocated, 1e-9),
        "jobs": len(spans),
        "submits": sum_of(caused, SUBMITS),
        "queries": sum_of(caused, QUERIES),
        "cancels": sum_of(caused, CANCELS),
        "sacct": int((directory / "sacct").read_text()) if row in THEIRS else 0,
    }


def report(rows: dict[str, dict[str, float]], given: argparse.Namespace) -> None:
    """The table; ratios are against the first row."""
    ideal_s = given.trials * given.seconds / min(given.workers, NODES * CPUS)
    first = next(iter(rows.values()))
    print(f"{given.trials} trials of {given.seconds:g} s, {NODES} nodes of {CPUS} CPUs; ideal: {ideal_s:.1f} s; load {os.getloadavg()[0]:.1f}")  # fmt: skip  # noqa: E501
    print(f"{'':16} {'makespan':>9} {'of ideal':>9} {'user code':>10} {'jobs':>5} {'sbatch':>7} {'queries':>8} {'cancels':>8} {'sacct':>6} {'ratio':>6}")  # fmt: skip  # noqa: E501
    for row, m in rows.items():
        ratio = m["wall_s"] / first["wall_s"]
        print(
            f"{row:16} {m['wall_s']:7.1f} s {ideal_s / m['wall_s']:9.1%} {m['user']:10.1%} {m['jobs']:5.0f} "
            f"{m['submits']:7.0f} {m['queries']:8.0f} {m['cancels']:8.0f} {m['sacct']:6.0f} {ratio:5.1f}x"
        )


@contextlib.contextmanager
def cluster_with(place: Path, *options: str) -> Iterator[None]:
    """A cluster in ``place`` that this process's commands use. ``options``: of slurm-cluster."""
    command = [sys.executable, str(SCRIPT)]
    up = subprocess.run(
        [*command, "up", "--dir", str(place), *options, "--owner-pid", str(os.getpid())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    os.environ["SLURM_CONF"] = up.stdout.strip().removeprefix("export SLURM_CONF=")
    try:
        yield
    finally:
        subprocess.run([*command, "down", "--dir", str(place)], check=False, capture_output=True)


def private_slurm(place: Path, *more: str) -> contextlib.AbstractContextManager[None]:
    """A cluster for comparisons. ``more``: further options of slurm-cluster."""
    return cluster_with(place, "--nodes", str(NODES), "--cpus-per-node", str(CPUS), "--min-job-age", "7200", *more)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=NODES * CPUS)
    parser.add_argument("--rows", nargs="*", choices=(*OURS, *THEIRS))
    parser.add_argument("--peers", help="the python of an environment with submitit and optuna; else only we run")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd and MariaDB, which submitit asks")
    parser.add_argument("--keep", type=Path, help="a directory for the runs, which is kept")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--dir", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        stamps = str(Path(given.dir) / "stamps")
        run = {"optuna": optuna_row}.get(given.one)
        row = functools.partial(hpctune_row if given.one in OURS else submitit_row, given.one) if run is None else run
        row(given, stamps)
        return
    with tempfile.TemporaryDirectory(prefix="bench-slurm-") as temporary:
        place = Path(temporary)
        place.chmod(0o755)
        if given.keep is not None:
            given.keep.mkdir(parents=True, exist_ok=True)
        with private_slurm(place / "slurm", *(["--accounting"] if given.accounting else [])):
            chosen = given.rows or (*OURS, *(THEIRS if given.peers else ()))
            rows = {row: measure(row, given, given.keep or place) for row in chosen}
            report(rows, given)
            print(json.dumps(rows), file=sys.stderr)


if __name__ == "__main__":
    main()
