"""Checks of the files of pool workers and driver jobs: ``workers/`` and ``drivers/``. Only if no driver runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from hpctune.common.text import quoted
from hpctune.errors import StorageError
from hpctune.repair.findings import Finding, MoveAside, Remove
from hpctune.storage import driver_jobs, worker_files
from hpctune.storage.layout import ExperimentPaths, WorkerPaths


def check_workers(paths: ExperimentPaths) -> Iterator[Finding]:
    """Workers that no driver could find again, orders that cannot be read, garbled lines of their records."""
    for root in entries(paths.workers):
        if root.is_dir():
            yield from _worker(WorkerPaths(root), f"{paths.workers.name}/{root.name}")


def _worker(worker: WorkerPaths, where: str) -> Iterator[Finding]:
    runs = sorted(worker.root.glob("run-*.jsonl"))
    if worker_files.read_spec(worker) is None:
        if not worker.spec.exists() and not runs:
            what = "the driver was killed as it made a worker"
            yield Finding("left over", where, what, "removed", Remove(worker.root))
            return
        how = "cannot be read" if worker.spec.exists() else "is missing"
        what = f"worker.json {how}: no driver can find this worker or its trials"
        done = "moved to quarantine: unfinished trials continue in a new attempt"
        yield Finding("damaged worker", where, what, done, MoveAside(worker.root))
        return
    orders = worker_files.read_orders(worker)
    if orders and worker_files.parse_orders(orders) is None:
        done = "moved to quarantine: the next driver gives new ones"
        yield Finding("orders", f"{where}/orders.json", "cannot be read", done, MoveAside(Path(worker.orders)))
    for path in runs:
        amount = worker_files.unreadable(path)
        if amount:
            what = f"{amount} of its lines cannot be read: the disk was full, or the worker was killed"
            yield Finding("garbled line", f"{where}/{path.name}", what, "Every reader skips them", note=True)


def check_driver_jobs(paths: ExperimentPaths) -> Iterator[Finding]:
    """Notes and options of driver jobs that cannot be read."""
    for path in entries(paths.drivers):
        where = f"{paths.drivers.name}/{path.name}"
        if path == paths.driver_options:
            try:
                driver_jobs.read_options(paths)
            except StorageError:
                done = f"moved to quarantine. Before the next driver job: hpctune resume {quoted(paths.root)} --sbatch"
                what = "cannot be read: no driver job could submit its successor"
                yield Finding("driver jobs", where, what, done, MoveAside(path))
        elif path.suffix == ".json" and not path.name.startswith(".") and not _is_json(path):
            what = "cannot be read; it is only for people, and for hpctune status"
            yield Finding("driver jobs", where, what, "moved to quarantine", MoveAside(path))


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False


def entries(directory: Path) -> list[Path]:
    """The entries of ``directory``, sorted; empty if it does not exist."""
    return sorted(directory.iterdir()) if directory.is_dir() else []
