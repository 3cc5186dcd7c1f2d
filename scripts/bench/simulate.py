#!/usr/bin/env python3
"""Simulate a random search with the real engine and storage code: how long does it take?

python scripts/bench/simulate.py [--trials 10000] [--results 10] [--slots 100] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import shutil
import tempfile
import time
from pathlib import Path

from hpctune.testing.simulation import Simulation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--results", type=int, default=10)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="hpctune-simulate-"))
    profiler = cProfile.Profile()
    try:
        simulation = Simulation(root / "exp", num_samples=args.trials, iterations=args.results, slots=args.slots)
        began = time.perf_counter()
        if args.profile:
            profiler.enable()
        state = simulation.run()
        profiler.disable()
        spent, cpu = time.perf_counter() - began, time.process_time()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    rows = sum(t.results for t in state.trials.values())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{state.finished} trials, {rows} results in {spent:.1f} s ({cpu:.1f} s of CPU)")
    print(f"{1e6 * cpu / rows:.0f} us of CPU a result, {memory:.0f} MB at most")
    print(f"{simulation.simulated_s / 3600:.1f} simulated hours")
    if args.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
