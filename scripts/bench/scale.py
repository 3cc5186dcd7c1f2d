#!/usr/bin/env python3
"""Does the driver's work per result, and its memory per finished trial, stay the same as an experiment grows?

python scripts/bench/scale.py [--trials 100 1000 10000 100000] [--results 2] [--slots 100] [--scheduler fifo|asha]
                              [--space plain|nested] [--loggers]

The engine, journal and files are the real ones; the cluster and the clock are simulated. Each size runs in a process
of its own. Time is CPU time inside the driver's turns: what simulated workers do is not in it. "late": of the results
after nine in ten trials were over. Memory: all objects that the driver holds at the end, without those it held at the
start and without the simulated cluster, by trials; and by how much the process's resident memory has grown for each
trial that came to its end while the experiment went from half to nine tenths (the cluster's history is forgotten).
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hpctune.driver.engine import Driver
from hpctune.driver.gc_tuning import frozen_gc
from hpctune.output.callback import Callback
from hpctune.output.defaults import DEFAULT_LOGGERS
from hpctune.schedulers.async_hyperband import AsyncHyperBandScheduler
from hpctune.schedulers.base import FIFOScheduler, SchedulerPolicy
from hpctune.space import choice, loguniform, uniform
from hpctune.testing.simulated import Curve, SimulatedRun
from hpctune.testing.simulation import Simulation

SPACES: dict[str, dict[str, Any]] = {
    "plain": {"x": uniform(0.0, 1.0)},
    "nested": {
        "x": uniform(0.0, 1.0),
        "optimizer": {"name": choice(["sgd", "adam"]), "lr": loguniform(1e-5, 1e-1), "momentum": uniform(0.0, 1.0)},
        "data": {"path": "/scratch/data/imagenet", "batch": choice([32, 64, 128])},
    },
}
_SHARED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType)
"""What is there once, however many trials there are."""


class Forgotten(list[SimulatedRun]):
    """The simulated cluster's memory of its runs, without any."""

    def append(self, run: SimulatedRun) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class Measured:
    """CPU microseconds a result: of all, and of the last (``us_late``); bytes a trial."""

    trials: int
    results: int
    us: float
    us_late: float | None
    held: float
    process: float
    cpu_s: float


def real_row(config: Mapping[str, Any], iteration: int) -> dict[str, Any]:
    """A result with the fields that a real worker fills in (what is the trial's own there is the same in all here)."""
    now = 1_700_000_000 + 60 * iteration + int(1e6 * config["x"])
    return {
        "loss": config["x"] + 1.0 / iteration, "accuracy": 1.0 / (1.0 + config["x"]), "done": False,
        "iterations_since_restore": iteration, "time_this_iter_s": 60.0 + config["x"],
        "time_total_s": 60.0 * iteration + config["x"], "time_since_restore": 60.0 * iteration + 0.5 * config["x"],
        "timesteps_total": None, "timesteps_since_restore": 0, "episodes_total": None, "timestamp": now,
        "date": time.strftime("%Y-%m-%d_%H-%M-%S", time.gmtime(now)), "trial_id": "51a1a_00000",
        "experiment_id": "51a1a7ed", "experiment_tag": "0_x=0.5", "hostname": "node-0017",
        "node_ip": "10.0.0.17", "pid": now % 30_000, "job_id": str(now), "attempt": 1, "node_list": "node-0017",
        "config": config,
    }  # fmt: skip


def simulation(root: Path, args: argparse.Namespace, trials: int) -> Simulation:
    """The experiment. With the nested space its results are as rich as those of real workers."""
    curve = Curve(metrics=real_row, iterations=args.results) if args.space == "nested" else None
    schedulers: dict[str, Callable[[], SchedulerPolicy]] = {
        "fifo": FIFOScheduler,
        "asha": lambda: AsyncHyperBandScheduler(metric="loss", mode="min", max_t=args.results, grace_period=1),
    }
    callbacks: Sequence[Callback] = [logger() for logger in DEFAULT_LOGGERS] if args.loggers else ()
    made = Simulation(
        root, num_samples=trials, iterations=args.results, slots=args.slots, space=SPACES[args.space], curve=curve,
        scheduler=schedulers[args.scheduler], callbacks=callbacks,
    )  # fmt: skip
    made.cluster.history = Forgotten()
    return made


def held(roots: Iterable[object], without: Iterable[object]) -> int:
    """Bytes of everything that is reachable from ``roots``, but not of ``without`` and what is behind it."""
    seen, left, total = {id(each) for each in without}, list(roots), 0
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        left += gc.get_referents(one)
    return total


def resident() -> int:
    """Bytes of memory that this process has now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(args: argparse.Namespace, trials: int) -> Measured:
    """One experiment from its first trial to its last."""
    root = Path(tempfile.mkdtemp(prefix="hpctune-scale-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        made = simulation(root / "exp", args, trials)
        driver, others = made.driver(), (made.cluster, made.clock)
        with frozen_gc():  # as the driver loop has it
            driver.start()
            empty = held([driver], others)
            early = until(made, driver, trials // 2)
            half = driver.state.finished, resident()
            most = until(made, driver, trials - trials // 10)
            grown = (resident() - half[1]) / max(driver.state.finished - half[0], 1)
            reported = results(driver)
            late = until(made, driver, trials)
            while not driver.finished:
                made.clock.sleep(driver.step())
            behind = (held([driver], others) - empty) / trials
        driver.leave("finished")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    total, cpu_s = results(driver), early + most + late
    us_late = 1e6 * late / (total - reported) if total > reported else None
    return Measured(trials, total, 1e6 * cpu_s / total, us_late, behind, grown, cpu_s)


def results(driver: Driver) -> int:
    """All that were counted so far."""
    return sum(trial.results for trial in driver.state.trials.values())


def until(made: Simulation, driver: Driver, finished: int) -> float:
    """Drive until so many trials are over; returns the CPU seconds of the driver's turns."""
    spent = 0.0
    while driver.state.finished < finished:
        began = time.process_time()
        pause = driver.step()
        spent += time.process_time() - began
        made.clock.sleep(pause)
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--results", type=int, default=2)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--scheduler", choices=("fifo", "asha"), default="fifo")
    parser.add_argument("--space", choices=tuple(SPACES), default="plain", help="nested: with rows as real ones")
    parser.add_argument("--loggers", action="store_true", help="with the default loggers")
    args = parser.parse_args()
    print("| trials | results | us a result | late | bytes held a trial | process grows by | CPU of the driver |")
    print("|---|---|---|---|---|---|---|")
    for trials in args.trials:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            m = alone.submit(measure, args, trials).result()
        late = "-" if m.us_late is None or trials < 50 * args.slots else f"{m.us_late:.0f}"
        memory = f"{m.held:,.0f} | {m.process:,.0f}" if trials >= 1000 else "- | -"
        print(f"| {m.trials:,} | {m.results:,} | {m.us:.0f} | {late} | {memory} | {m.cpu_s:.1f} s |", flush=True)


if __name__ == "__main__":
    main()
