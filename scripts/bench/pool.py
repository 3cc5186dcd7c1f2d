"""What a trial costs in workers that stay: on this machine, and on a Slurm of four nodes that the script brings up.

    python scripts/bench/pool.py local [--trials 1000] [--workers 2]
    python scripts/bench/pool.py slurm [--trials 500] [--workers 4] [--seconds 1.0]

``local``: trials that do nothing, with the default loggers. ``slurm``: trials that sleep; makespan against the ideal
(trials x seconds / workers), the share of the workers' time spent in user code, and the requests that slurmctld got.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from slurm_peers import cluster_with

import hpctune as tune
from hpctune.model.pool import Began, Ended, Left
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.worker_files import WorkerTail


def nothing(config: dict[str, float]) -> None:
    """A trial without work."""
    tune.report({"loss": config["x"]})


def sleeps(config: dict[str, float]) -> None:
    """A trial of so many seconds."""
    time.sleep(config["seconds"])
    tune.report({"loss": config["x"]})


def reap() -> None:
    """Wait for the workers, so that what they used is counted."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def local(trials: int, workers: int, storage: Path) -> None:
    """No-op trials on this machine."""
    began = time.monotonic()
    space = {"x": tune.uniform(0, 1)}
    tune.run(
        nothing, name="bench", config=space, num_samples=trials, cluster="local", workers=workers, verbose=0,
        storage_path=storage,
    )  # fmt: skip
    wall_s = time.monotonic() - began
    mine = resource.getrusage(resource.RUSAGE_SELF)
    reap()
    theirs = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{trials} no-op trials, {workers} workers: {wall_s:.1f} s, {wall_s / trials * 1e3:.1f} ms a trial")
    for who, used in (("driver", mine), ("workers and trials", theirs)):
        cpu_s = used.ru_utime + used.ru_stime
        print(f"  {who}: {cpu_s / trials * 1e3:.1f} ms of CPU a trial, largest process {used.ru_maxrss / 1024:.0f} MiB")
    shares(storage / "bench")
    files = [sum(1 for _ in path.iterdir()) for path in (storage / "bench").glob("nothing_*")]
    print(f"  files a trial: {max(files)}")


def shares(experiment: Path) -> None:
    """Where the workers' time went."""
    busy = between = alive = 0.0
    count = 0
    for directory in sorted((experiment / "workers").iterdir()):
        begun: dict[int, float] = {}
        last = first = 0.0
        for record in WorkerTail(ExperimentPaths(experiment).worker(directory.name).run(0)).read():
            first = first or getattr(record, "at", 0.0)
            if isinstance(record, Began):
                begun[record.number] = record.at
                between += record.at - last if last else 0.0
            elif isinstance(record, Ended) and record.number in begun:
                busy += record.at - begun[record.number]
                last, count = record.at, count + 1
            elif isinstance(record, Left):
                alive += record.at - first
    print(f"  a trial's process: {busy / count * 1e3:.1f} ms; from one to the next: {between / count * 1e3:.1f} ms")
    print(f"  share of the workers' time in trials: {busy / alive:.1%}")


def requests() -> Counter[str]:
    """How many requests of each kind slurmctld has got."""
    text = subprocess.run(["sdiag"], capture_output=True, text=True, check=True).stdout
    return Counter({name: int(n) for name, n in re.findall(r"(REQUEST_\w+)\s+\(\s*\d+\)\s+count:(\d+)", text)})


def slurm(trials: int, workers: int, seconds: float, storage: Path) -> None:
    """Sleeping trials on four nodes."""
    before, began = requests(), time.monotonic()
    space = {"x": tune.uniform(0, 1), "seconds": seconds}
    tune.run(
        sleeps, name="bench", config=space, num_samples=trials, workers=workers, verbose=0, storage_path=storage,
        slurm=tune.SlurmOptions(mem="200M", time=60),
    )  # fmt: skip
    wall_s = time.monotonic() - began
    ideal_s = trials * seconds / workers
    print(f"{trials} trials of {seconds:g} s, {workers} workers: {wall_s:.1f} s, {ideal_s / wall_s:.1%} of the ideal")
    shares(storage / "bench")
    caused = requests() - before
    told = ("SUBMIT_BATCH_JOB", "JOB_INFO", "JOB_USER_INFO", "CANCEL_JOB", "KILL_JOB", "PARTITION_INFO")
    counted = {name: n for name, n in caused.items() if any(t in name for t in told)}
    print(f"  requests to slurmctld: {counted}")
    glance = json.loads((storage / "bench" / "driver.json").read_text())
    print(f"  Slurm commands run: {glance['calls']['total']}")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("where", choices=["local", "slurm"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpctune-bench-") as place:
        storage = Path(place)
        if given.where == "local":
            local(given.trials or 1000, given.workers or 2, storage)
            return
        storage.chmod(0o755)
        with cluster_with(storage / "slurm", "--nodes", "4"):
            slurm(given.trials or 500, given.workers or 4, given.seconds, storage)


if __name__ == "__main__":
    main()
