#!/usr/bin/env python3
"""Compare searchers and schedulers on recorded learning curves: the real engine, a simulated cluster and clock.

python scripts/bench_search.py --processes 2 --picture docs/search-quality.png

Prints the distance to the best loss of the table (median and quartiles over seeds) after several amounts of training.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bench.tables import TABLES, Table

from hpctune.errors import MissingPackageError
from hpctune.schedulers.create import as_scheduler
from hpctune.search import as_search_algorithm, create_searcher
from hpctune.stopper import Stopper
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation

ETA = 3
POLL_S = 5.0


def fifo(table: Table) -> Any:
    """Every trial trains to its end."""
    return None


@dataclass(frozen=True, slots=True)
class Method:
    """One line of the comparison. ``search``: a name for create_searcher, None for random search.

    ``scheduler``: makes one for a table. ``population``: how many trials there are; None: as many as time allows.
    """

    name: str
    search: str | None = None
    scheduler: Callable[[Table], Any] = fifo
    options: tuple[tuple[str, Any], ...] = ()
    population: int | None = None
    checkpoint_every: int = 0


def asha(table: Table) -> Any:
    """Asynchronous successive halving that stops trials."""
    from hpctune.schedulers import ASHAScheduler

    return ASHAScheduler(max_t=table.epochs, grace_period=1, reduction_factor=ETA)


def hyperband(table: Table) -> Any:
    """Synchronous HyperBand."""
    from hpctune.schedulers import HyperBandScheduler

    return HyperBandScheduler(max_t=table.epochs, reduction_factor=ETA)


def bohb(table: Table) -> Any:
    """HyperBand as BOHB wants it."""
    from hpctune.schedulers import HyperBandForBOHB

    return HyperBandForBOHB(max_t=table.epochs, reduction_factor=ETA)


def pasha(table: Table) -> Any:
    """ASHA that begins with a short training and lengthens it while the ranking changes."""
    from hpctune.schedulers import PASHAScheduler

    return PASHAScheduler(max_t=table.epochs, grace_period=1, reduction_factor=ETA)


def median(table: Table) -> Any:
    """The median stopping rule."""
    from hpctune.schedulers import MedianStoppingRule

    return MedianStoppingRule(time_attr="training_iteration", grace_period=table.epochs // 9)


INTERVAL = 9


def pbt(table: Table) -> Any:
    """Population based training."""
    from hpctune.schedulers import PopulationBasedTraining

    return PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=INTERVAL,
        hyperparam_mutations=table.mutations(),
        log_config=False,
    )


METHODS = (
    Method("random"),
    Method("TPE", "tpe"),
    Method("GP", "gp"),
    Method("Optuna TPE", "optuna"),
    Method("HyperOpt TPE", "hyperopt"),
    Method("PBT", None, pbt, population=16, checkpoint_every=INTERVAL),
    Method("median rule", None, median),
    Method("HyperBand", None, hyperband),
    Method("BOHB", "bohb", bohb),
    Method("ASHA", None, asha),
    Method("PASHA", None, pasha),
    Method("Optuna TPE + ASHA", "optuna", asha),
    Method("TPE + ASHA", "tpe", asha),
    Method("GP + ASHA", "gp", asha),
)


class Budget(Stopper):
    """Ends the experiment after so much training, and keeps the best loss by the training so far."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.spent, self.best = seconds, 0.0, float("inf")
        self.spents: list[float] = []
        self.bests: list[float] = []

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.spent += result["cost"]
        if result["loss"] < self.best:
            self.best = result["loss"]
            self.spents.append(self.spent)
            self.bests.append(self.best)
        return False

    def stop_all(self) -> bool:
        return self.spent >= self.seconds


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one experiment. ``busy``: the share of the workers' time in which they trained."""

    spents: list[float]
    bests: list[float]
    trials: int
    busy: float
    took_s: float


def run(method: Method, table_name: str, seed: int, budget: float, workers: int) -> Run:
    """One experiment in a directory that is removed again."""
    warnings.simplefilter("ignore")
    table, began = TABLES[table_name], time.process_time()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    home = Path(tempfile.mkdtemp(prefix="hpctune-bench-", dir=memory))
    stopper = Budget(budget * table.full_s)
    curve = Curve(
        metrics=lambda config, iteration: {},
        step=table.step,
        seconds=table.epoch_s,
        iterations=table.epochs,
        saves=True,
        checkpoint_every=method.checkpoint_every,
    )
    try:
        simulation = Simulation(
            home / "exp",
            num_samples=method.population or -1,
            slots=workers,
            max_concurrent=workers,
            curve=curve,
            poll_s=POLL_S,
            seed=seed,
            scheduler=lambda: as_scheduler(_seeded(method.scheduler(table), seed), "loss", "min"),
            stopper=stopper,
        )
        simulation.setup = replace(simulation.setup, bind_search=_binder(method, table))
        state = simulation.run()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    busy = stopper.spent / (workers * simulation.simulated_s)
    return Run(stopper.spents, stopper.bests, len(state.trials), busy, time.process_time() - began)


def _seeded(scheduler: Any, seed: int) -> Any:
    if hasattr(scheduler, "seed"):
        scheduler.seed = seed
    return scheduler


def _binder(method: Method, table: Table) -> Callable[[int, int], Any]:
    def bind(num_samples: int, seed: int) -> Any:
        search = None if method.search is None else create_searcher(method.search, **dict(method.options))
        return as_search_algorithm(search).bind(table.space(), num_samples, seed, metric="loss", mode="min")

    return bind


def available(method: Method) -> bool:
    """Whether a method's packages are there; says what is missing."""
    try:
        if method.search is not None:
            create_searcher(method.search, **dict(method.options))
        method.scheduler(next(iter(TABLES.values())))
    except MissingPackageError as error:
        print(f"skipped: {method.name}: {error}", file=sys.stderr)
        return False
    return True


def at(run: Run, table: Table, trainings: float) -> float:
    """How far the best loss was from the table's best when so many full trainings had been paid for."""
    reached = np.searchsorted(run.spents, trainings * table.full_s, side="right")
    return run.bests[reached - 1] - table.best if reached else float("nan")


def report(table: Table, results: dict[str, list[Run]], marks: Sequence[float]) -> None:
    """Print the table of one data set."""
    print(f"\n{table.name}: best loss {table.best:.4f}; distance to it, median (quartiles)\n")
    print(f"| method | {' | '.join(f'{m:g} trainings' for m in marks)} | trials | busy | CPU a run |")
    print(f"|---|{'---|' * len(marks)}---|---|---|")
    for name, runs in results.items():
        cells = []
        for mark in marks:
            low, middle, high = np.quantile([at(r, table, mark) for r in runs], [0.25, 0.5, 0.75])
            cells.append(f"{middle:.4f} ({low:.4f}–{high:.4f})")
        trials, busy, took = (np.median([getattr(r, key) for r in runs]) for key in ("trials", "busy", "took_s"))
        print(f"| {name} | {' | '.join(cells)} | {trials:.0f} | {100 * busy:.0f}% | {took:.1f} s |")


def draw(path: Path, every: dict[str, dict[str, list[Run]]], budget: float) -> None:
    """Draw the medians against the training paid for."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    grid = np.geomspace(0.5, budget, 60)
    figure, axes = plt.subplots(1, len(every), figsize=(6.2 * len(every), 5), squeeze=False)
    colours = mpl.colormaps["tab10"].colors
    styles = [(colour, style) for style in ("-", "--") for colour in colours]
    for axis, (name, results) in zip(axes[0], every.items(), strict=True):
        for (method, runs), (colour, style) in zip(results.items(), itertools.cycle(styles)):
            medians = [np.median([at(r, TABLES[name], x) for r in runs]) for x in grid]
            axis.plot(grid, np.maximum(medians, 1e-4), label=method, color=colour, linestyle=style)
        axis.set(xscale="log", yscale="log", title=name, xlabel="training paid for, in full trainings")
        axis.set_xticks(ticks := [1, 2, 5, 10, 20, 30], [str(tick) for tick in ticks])
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("distance to the best loss (median)")
    axes[0][-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    print(f"\n{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--budget", type=float, default=30, help="in full trainings of average cost")
    parser.add_argument("--workers", type=int, default=4, help="simulated jobs at a time")
    parser.add_argument("--only", nargs="*", help="names of methods")
    parser.add_argument("--tables", nargs="*", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--keep", type=Path, help="a JSON file for the curves, read again where it has them")
    args = parser.parse_args()
    methods = [m for m in METHODS if (not args.only or m.name in args.only) and available(m)]
    kept = json.loads(args.keep.read_text()) if args.keep and args.keep.exists() else {}
    every: dict[str, dict[str, list[Run]]] = {name: {m.name: [] for m in methods} for name in args.tables}
    with ProcessPoolExecutor(args.processes) as pool:
        jobs = [(name, m, seed) for name in args.tables for m in methods for seed in range(args.seeds)]
        keys = [f"{name}/{m.name}/{seed}/{args.budget:g}/{args.workers}" for name, m, seed in jobs]
        futures = {
            key: pool.submit(run, m, name, seed, args.budget, args.workers)
            for key, (name, m, seed) in zip(keys, jobs, strict=True)
            if key not in kept
        }
        for key, (name, m, _) in zip(keys, jobs, strict=True):
            found = Run(**kept[key]) if key in kept else futures[key].result()
            every[name][m.name].append(found)
            if args.keep and key not in kept:
                kept[key] = {field: getattr(found, field) for field in Run.__slots__}
                args.keep.write_text(json.dumps(kept))
    for name, results in every.items():
        report(TABLES[name], results, [mark for mark in (5, 10, 20, 30, 60) if mark <= args.budget])
    if args.picture:
        draw(args.picture, every, args.budget)


if __name__ == "__main__":
    main()
