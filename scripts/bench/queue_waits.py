#!/usr/bin/env python3
"""What waiting in the queue does to early stopping: a job a trial against workers that stay, in simulated time.

python scripts/bench/queue_waits.py --processes 2 --picture docs/queue-waits.png

The real engine, scheduler and pool over a simulated cluster with 8 places, on which every job waits 0, R/3 or R first
(R: one full training of 27 epochs). Prints medians over seeds: the best value after some elapsed and after some
allocated time, and when a target was reached: what random search finds in 6 R (48 trainings) without any wait.
"ASHA" leaves out rungs where jobs wait, as it does by default; "ASHA, all rungs" has ``adapt_to_queue=False``.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import pickle
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from tables import TABLES, Table

from tests.sim.queue_race import FULL_S, HARTMANN, SCHEDULERS, Problem, R, Race, race

LENGTH = 6.0
ELAPSED = (2.0, 4.0, 6.0)
ALLOCATED = (12.0,)
WAITS = {"0": 0.0, "R/3": 1 / 3, "R": 1.0}
MODES = {"a job a trial": False, "workers": True}


def recorded(table: Table) -> Problem:
    """The first epochs of recorded learning curves, as long as they took."""

    def loss(config: Mapping[str, Any], epoch: int) -> Mapping[str, float]:
        return {"loss": float(table.losses[table.row(config)][epoch - 1])}

    return Problem(table.name, table.space(), loss, table.epoch_s, float(np.nanmin(table.losses[:, R - 1])))


PROBLEMS = {"hartmann": HARTMANN, **{name: recorded(table) for name, table in TABLES.items()}}


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the comparison."""

    problem: str
    mode: str
    wait: str
    search: str


def run(case: Case, seed: int) -> Race:
    """One search."""
    return race(
        PROBLEMS[case.problem], case.search, pool=MODES[case.mode], wait=WAITS[case.wait], seed=seed, length=LENGTH
    )


def _run(job: tuple[Case, int]) -> Race:
    return run(*job)


Races = Mapping[Case, Sequence[Race]]


def target(races: Races, problem: str) -> float:
    """What random search has found at the end where nothing waits."""
    plain = races[Case(problem, "a job a trial", "0", "random")]
    return statistics.median(each.best_at(LENGTH) for each in plain)


def rows(races: Races) -> Iterator[str]:
    """The lines of the table."""
    heads = [
        *("problem", "jobs", "wait", "search", "trials"),
        *(f"best at {t:g} R" for t in ELAPSED),
        *(f"best for {a:g} R allocated" for a in ALLOCATED),
        "target at",
    ]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for case, each in races.items():
        goal = target(races, case.problem)
        values = [
            f"{statistics.median(race.trials for race in each):.0f}",
            *(f"{statistics.median(race.best_at(t) for race in each):.4f}" for t in ELAPSED),
            *(f"{statistics.median(race.best_for(a) for race in each):.4f}" for a in ALLOCATED),
            _when(statistics.median(race.reached(goal) for race in each)),
        ]
        yield f"| {case.problem} | {case.mode} | {case.wait} | {case.search} | {' | '.join(values)} |"


def _when(time: float) -> str:
    return f"{time:.1f} R" if time <= LENGTH else f"after {LENGTH:g} R"


COLOURS = {"random": "0.45", "ASHA": "tab:blue", "ASHA, all rungs": "tab:red", "ASHA (promotion)": "tab:orange"}


def draw(races: Races, problem: str, path: Path) -> None:
    """Medians of the distance to the best possible value against elapsed time, one panel for each wait."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(WAITS), figsize=(9.6, 3.2), sharey=True, layout="constrained")
    times = [LENGTH * n / 240 for n in range(1, 241)]
    top = 0.0
    for axis, wait in zip(axes, WAITS, strict=True):
        for mode, search in itertools.product(MODES, SCHEDULERS):
            each = races.get(Case(problem, mode, wait, search))
            if each is None or (MODES[mode] and search == "ASHA, all rungs"):
                continue  # on workers every rung counts anyway
            bests = [statistics.median(race.best_at(t) for race in each) for t in times]
            line = [max(best - PROBLEMS[problem].least, 1e-4) for best in bests]
            top = max(top, *(value for t, value in zip(times, line, strict=True) if t > WAITS[wait] + 0.5))
            style = "-" if MODES[mode] else ":"
            axis.plot(times, line, style, color=COLOURS[search], label=f"{search}, {mode}", linewidth=1.4)
        axis.set_title(f"every job waits {wait}", fontsize=9)
        axis.set_xlabel("elapsed time in full trainings R", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.set_yscale("log")
        axis.grid(alpha=0.3)
    axes[0].set_ylim(top=1.2 * top)
    axes[0].set_ylabel(f"{problem}: distance to the best loss, median", fontsize=8)
    axes[-1].legend(fontsize=6.5)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description="Queue waits and early stopping, in simulated time.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--searches", nargs="+", default=list(SCHEDULERS), choices=list(SCHEDULERS))
    parser.add_argument("--picture", type=Path, help="draw the first problem there; needs matplotlib")
    parser.add_argument("--keep", type=Path, help="a file for what is found, read again where it has it")
    given = parser.parse_args()
    began = time.perf_counter()
    cases = [Case(p, m, w, s) for p in given.problems for w in WAITS for m in MODES for s in given.searches]
    kept = pickle.loads(given.keep.read_bytes()) if given.keep and given.keep.exists() else {}
    jobs = [job for job in itertools.product(cases, range(given.seeds)) if job not in kept]
    with ProcessPoolExecutor(given.processes) as processes:
        for job, found in zip(jobs, processes.map(_run, jobs), strict=True):
            kept[job] = found
            if given.keep:
                given.keep.write_bytes(pickle.dumps(kept))
    races = {case: [kept[case, seed] for seed in range(given.seeds)] for case in cases}
    print(f"Medians of {given.seeds} seeds; R = {FULL_S / 60:g} simulated minutes\n")
    for problem in given.problems:
        print(f"target on {problem}: {target(races, problem):.4f}")
    print("\n" + "\n".join(rows(races)))
    print(f"\n{time.perf_counter() - began:.0f} s")
    if given.picture is not None:
        draw(races, given.problems[0], given.picture)


if __name__ == "__main__":
    main()
