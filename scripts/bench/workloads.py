"""One workload, run by hpctune or by Ray Tune: python scripts/bench/workloads.py hpctune|ray WORKLOAD DIRECTORY

Both run the same functions through the same calls; only the import differs. The last line of output is a JSON object
with what was measured. ``scripts/bench/peers.py`` runs it in both environments and prints the ratios.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BEGAN = time.time()


def chosen(tuner: str) -> Any:
    """The module, ready to run two trials at a time."""
    if tuner == "hpctune":
        import hpctune

        return hpctune
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    import ray
    from ray import tune

    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    return tune


class Bench:
    """What every workload needs."""

    def __init__(self, tuner: str, directory: Path, trials: int | None) -> None:
        self.tuner, self.directory, self.trials = tuner, directory, trials

    @functools.cached_property
    def tune(self) -> Any:
        """The module, when it is first needed: what only starts others needs none."""
        return chosen(self.tuner)

    def run(self, train: Any, trials: int, **options: Any) -> tuple[Any, float]:
        """Run ``train``; the analysis and the seconds that it took."""
        tune = self.tune
        if self.tuner == "hpctune":
            where = {"storage_path": str(self.directory), "cluster": tune.LocalOptions(cpus=2)}
        else:
            where = {"storage_path": str(self.directory), "raise_on_failed_trial": False}
        began = time.perf_counter()
        analysis = tune.run(
            train, name="bench", num_samples=trials, metric="loss", mode="min", verbose=0,
            resources_per_trial={"cpu": 1}, **where, **options,
        )  # fmt: skip
        return analysis, time.perf_counter() - began

    def report(self, **metrics: Any) -> Any:
        """The way to report, which differs between the generations."""
        return self.tune.report(metrics)


def noop(bench: Bench, *, reuse: bool) -> dict[str, float]:
    """Trials that report once and end."""
    tune, trials = bench.tune, bench.trials or (1000 if reuse else 40)

    def train(config: dict[str, Any]) -> None:
        tune.report({"loss": config["x"]})

    _, seconds = bench.run(train, trials, config={"x": tune.uniform(0, 1)}, reuse_actors=reuse)
    return {"ms_per_trial": 1000 * seconds / trials, "trials": trials, **files(bench), **memory()}


def results(bench: Bench) -> dict[str, float]:
    """Four trials that report as fast as they can."""
    tune, reports = bench.tune, bench.trials or 5000

    def train(config: dict[str, Any]) -> None:
        took = []
        for i in range(reports):
            before = time.perf_counter()
            tune.report({"loss": 1.0 / (i + 1)})
            took.append(time.perf_counter() - before)
        Path(config["out"]).joinpath(str(os.getpid())).write_text(str(statistics.median(took)))

    out = bench.directory / "medians"
    out.mkdir(parents=True)
    _, seconds = bench.run(train, 4, config={"out": str(out), "x": tune.uniform(0, 1)})
    medians = [float(path.read_text()) for path in out.iterdir()]
    return {"results_per_s": 4 * reports / seconds, "report_ms": 1000 * statistics.median(medians)}


def asha(bench: Bench) -> dict[str, float]:
    """ASHA over a cheap function with rungs up to 81."""
    tune, trials = bench.tune, bench.trials or 200
    if bench.tuner == "hpctune":
        from hpctune.schedulers import ASHAScheduler
    else:
        from ray.tune.schedulers import ASHAScheduler

    def train(config: dict[str, Any]) -> None:
        for i in range(1, 82):
            tune.report({"loss": config["x"] + 1.0 / i})

    scheduler = ASHAScheduler(max_t=81, grace_period=1, reduction_factor=3)
    analysis, seconds = bench.run(
        train, trials, config={"x": tune.uniform(0, 1)}, reuse_actors=True, scheduler=scheduler
    )
    lengths = [trial.last_result["training_iteration"] for trial in analysis.trials]
    past = sum(length not in (1, 3, 9, 27, 81) for length in lengths)
    return {"seconds": seconds, "ms_per_trial": 1000 * seconds / trials, "trials_past_a_rung": past}


def first(bench: Bench) -> dict[str, float]:
    """From the start of the command to the first result."""
    tune = bench.tune

    def train(config: dict[str, Any]) -> None:
        Path(config["out"]).write_text(str(time.time()))
        tune.report({"loss": 0.0})

    out = bench.directory / "first"
    out.parent.mkdir(parents=True, exist_ok=True)
    bench.run(train, 1, config={"out": str(out)})
    return {"seconds": float(out.read_text()) - BEGAN}


KILL_AFTER = 30
"""Iterations after which the driver of :func:`killed` dies."""


def climb(bench: Bench) -> dict[str, float]:
    """Four trials of 25 iterations, each with a checkpoint; goes on with what is there."""
    tune, side = bench.tune, bench.directory / "iterations"

    def train(config: dict[str, Any]) -> None:
        import tempfile

        start = tune.get_checkpoint()
        done = 0
        if start is not None:
            with start.as_directory() as directory:
                done = int(Path(directory, "done").read_text())
        for i in range(done + 1, 26):
            time.sleep(0.1)
            with Path(config["side"]).open("a") as file:
                file.write(f"{config['who']} {i}\n")
            with tempfile.TemporaryDirectory() as directory:
                Path(directory, "done").write_text(str(i))
                tune.report({"loss": 1.0 / i}, checkpoint=tune.Checkpoint.from_directory(directory))

    side.parent.mkdir(parents=True, exist_ok=True)
    config = {"side": str(side), "who": tune.grid_search([1, 2, 3, 4])}
    bench.run(train, 1, config=config, resume="AUTO")
    return {}


def killed(bench: Bench) -> dict[str, float]:
    """A search whose driver is killed in the middle, and started again; what had to be done again."""
    command = [sys.executable, __file__, bench.tuner, "climb", str(bench.directory)]
    side = bench.directory / "iterations"
    began = time.perf_counter()
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not side.exists() or len(side.read_text().splitlines()) < KILL_AFTER:
        if first.poll() is not None:
            raise SystemExit("the first driver ended by itself")
        time.sleep(0.05)
    first.kill()
    first.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = side.read_text().splitlines()
    assert len(set(lines)) == 100, f"{len(set(lines))} of 100 iterations"
    return {"repeated": len(lines) - 100, "seconds": time.perf_counter() - began}


def files(bench: Bench) -> dict[str, float]:
    """Files per trial, and of the experiment besides."""
    root = next(path for path in bench.directory.iterdir() if path.is_dir() and path.name == "bench")
    every = [path for path in root.rglob("*") if path.is_file()]
    trials = {path for path in root.iterdir() if path.is_dir() and (path / "result.json").exists()}
    inside = sum(1 for path in every if not trials.isdisjoint(path.parents))
    return {"files_per_trial": inside / max(len(trials), 1), "files_besides": len(every) - inside}


def memory() -> dict[str, float]:
    """Peak resident memory of this process in MB: the driver's."""
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmHWM"))
    return {"driver_mb": int(peak.split()[1]) / 1024}


WORKLOADS = {
    "noop_reused": lambda bench: noop(bench, reuse=True),
    "noop_fresh": lambda bench: noop(bench, reuse=False),
    "results": results,
    "asha": asha,
    "first": first,
    "climb": climb,
    "killed": killed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tuner", choices=("hpctune", "ray"))
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--trials", type=int)
    given = parser.parse_args()
    measured = WORKLOADS[given.workload](Bench(given.tuner, given.directory, given.trials))
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
