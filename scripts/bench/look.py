#!/usr/bin/env python3
"""What a look at a growing experiment costs for those who look again and again: hpctune serve, top and status --watch.

python scripts/bench/look.py [--trials 10000]

The search is simulated; its journal is what a driver writes. Seconds are CPU time of this process: the first look reads
the whole journal, the next one what was added since, and "page" is what hpctune serve computes of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hpctune.analysis.cost.accounts import OWN_RECORDS
from hpctune.analysis.followed import FollowedExperiment
from hpctune.analysis.page.data import data_of
from hpctune.space import loguniform, uniform
from hpctune.storage.reader import read_experiment
from hpctune.testing.simulation import Simulation

T = TypeVar("T")


def cpu(work: Callable[[], T]) -> tuple[float, T]:
    """The CPU seconds of ``work``, and what it returns."""
    begun = time.process_time()
    found = work()
    return time.process_time() - begun, found


def main() -> None:
    """Make the experiment, and look."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        space = {"lr": loguniform(1e-4, 1), "x": uniform(0, 1), "y": uniform(0, 1)}
        simulation = Simulation(Path(folder) / "exp", space=space, num_samples=trials, iterations=10, slots=100)
        driver = simulation.driver()
        driver.start()
        while driver.state.finished < trials - 200:
            simulation.clock.sleep(driver.step())
        followed = FollowedExperiment(simulation.paths.root)
        first, _ = cpu(followed.read)
        while driver.state.finished < trials - 150:
            simulation.clock.sleep(driver.step())
        whole, _ = cpu(lambda: read_experiment(simulation.paths.root, with_rows=True))
        later, read = cpu(followed.read)
        page, _ = cpu(lambda: data_of(read, accounts=OWN_RECORDS))
        asked, _ = cpu(followed.fingerprint)
        driver.leave("measured")
    print(f"{len(read.view.state.trials):,} trials, {len(read.view.rows):,} results")
    print(f"first look {first:.2f} s, next look {later:.3f} s (read as a whole: {whole:.2f} s)")
    print(f"page {page:.2f} s, the question if anything has changed {asked * 1000:.1f} ms")


if __name__ == "__main__":
    main()
