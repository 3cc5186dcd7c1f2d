"""hpctune beside Ray Tune on this machine, in one run: python scripts/bench/peers.py --ray /path/to/rays/python

Each row runs the same workload (scripts/bench/workloads.py) in both, one after the other, twice by default with the
better one counting, and prints our figure, the peer's, and the ratio. ``--rows`` chooses rows, ``--small`` is for a
first look. The whole tree's memory is read from /proc while a workload runs. What both have written is removed at the
end: for minutes after thousands of files were removed, ext4 needs longer for each new one.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKLOADS = Path(__file__).with_name("workloads.py")
# row: (title, unit, what is read, whether less is better)
ROWS = {
    "noop_reused": [
        ("no-op trials, workers reused, 2 at a time", "ms a trial", "ms_per_trial", True),
        ("driver memory, peak", "MB", "driver_mb", True),
        ("memory of the whole tree, peak", "MB", "tree_mb", True),
        ("files per trial", "files", "files_per_trial", True),
    ],
    "noop_fresh": [("no-op trials, a fresh process each, 2 at a time", "ms a trial", "ms_per_trial", True)],
    "results": [
        ("results through driver and default loggers, 4 trials", "results/s", "results_per_s", False),
        ("report() in the trial, median", "ms", "report_ms", True),
    ],
    "asha": [
        ("ASHA, a cheap function up to 81 iterations, workers reused", "ms a trial", "ms_per_trial", True),
        ("trials that ran past a rung", "trials", "trials_past_a_rung", True),
    ],
    "killed": [("iterations repeated after kill -9 of the driver and resume", "iterations", "repeated", True)],
    "first": [("from the command to the first result", "s", "seconds", True)],
}
SMALL = {"noop_reused": 50, "noop_fresh": 8, "results": 500, "asha": 30}


def tree_mb(pid: int) -> float:
    """Proportional memory (PSS where it can be read, else RSS) of a process and all its descendants, in MB."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    total, todo = 0.0, [pid]
    while todo:
        one = todo.pop()
        todo += children.get(one, [])
        total += _memory(one)
    return total


def _memory(pid: int) -> float:
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1]) / 1024
    return 0.0


def measure(python: str, tuner: str, row: str, trials: int | None, root: str) -> dict[str, float]:
    """One run of a workload, in a new directory below ``root``."""
    directory = Path(tempfile.mkdtemp(prefix=f"{tuner}-", dir=root))
    command = [python, str(WORKLOADS), tuner, row, str(directory), *(["--trials", str(trials)] if trials else [])]
    # as for most: what was compiled once stays compiled (packages that pip has installed are in any case)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=env
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, tree_mb(process.pid) + strays_mb(process.pid, tuner, directory))
        time.sleep(0.5)
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"{tuner} {row} failed:\n{err[-3000:]}")
    measured: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    return {**measured, "tree_mb": peak}


def strays_mb(root: int, tuner: str, directory: Path) -> float:
    """Memory of what belongs to the run but descends from init: processes that name its directory, or are Ray's."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            orphan = int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == 1
        except OSError:
            continue
        if orphan and (str(directory) in words or (tuner == "ray" and ("raylet" in words or "ray::" in words))):
            total += tree_mb(int(entry.name))
    return total


def best(runs: list[dict[str, float]], key: str, less: bool) -> float:
    values = [run[key] for run in runs]
    return min(values) if less else max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ray", help="the python of an environment with ray[tune]; without it only we are measured")
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    root = tempfile.mkdtemp(prefix="bench-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    print(f"{'what':62} {'unit':10} {'hpctune':>10} {'Ray Tune':>10} {'ratio':>8}")
    for row in given.rows:
        trials = SMALL.get(row) if given.small else None
        ours, theirs = [], []
        for _ in range(given.repeat):
            ours.append(measure(sys.executable, "hpctune", row, trials, root))
            if given.ray:
                theirs.append(measure(given.ray, "ray", row, trials, root))
        for title, unit, key, less in ROWS[row]:
            mine = best(ours, key, less)
            other = best(theirs, key, less) if theirs else float("nan")
            ratio = other / mine if less and mine else mine / other if other and not less else float("nan")
            print(f"{title:62} {unit:10} {mine:10.3g} {other:10.3g} {ratio:7.1f}x", flush=True)


if __name__ == "__main__":
    main()
