"""The records in ``drivers/`` about the Slurm jobs that drive, drove, or will drive an experiment.

The submitter of a job creates ``JOB.json``; the job itself writes it from its start on. ``JOB.out`` is its output.
Nothing depends on these files: Slurm's queue and the lease decide. They are for people and for ``hpctune status``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hpctune.errors import StorageError
from hpctune.storage import atomic, values
from hpctune.storage.layout import ExperimentPaths


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverJob:
    """One driver job. ``after``: the job whose end it waits for. ``note``: an error of the chain, or why the job ended.

    Times are Unix seconds by the clock of the writer.
    """

    job_id: str
    submitted_at: float | None = None
    after: str | None = None
    host: str = ""
    started_at: float | None = None
    ends_at: float | None = None
    left_at: float | None = None
    note: str = ""


_FIELDS = frozenset(f.name for f in fields(DriverJob))


def log(paths: ExperimentPaths, job_id: str) -> Path:
    """The output of a driver job."""
    return paths.drivers / f"{job_id}.out"


def _path(paths: ExperimentPaths, job_id: str) -> Path:
    return paths.drivers / f"{job_id}.json"


def submitted(paths: ExperimentPaths, job: DriverJob) -> None:
    """Record a new job, unless it has started and recorded itself. Write errors are ignored."""
    with contextlib.suppress(OSError):
        atomic.create_exclusively(_path(paths, job.job_id), values.dumps(asdict(job)).encode() + b"\n")


def note(paths: ExperimentPaths, job: DriverJob) -> None:
    """Write the record of ``job``, called by the job itself. Write errors are ignored."""
    with contextlib.suppress(StorageError):
        atomic.write(_path(paths, job.job_id), values.dumps(asdict(job)) + "\n")


def forget(paths: ExperimentPaths, job_id: str) -> None:
    """Remove the record of a job that will never start."""
    with contextlib.suppress(OSError):
        _path(paths, job_id).unlink()


def read(paths: ExperimentPaths) -> list[DriverJob]:
    """Every recorded job, oldest first."""
    try:
        files = [p for p in paths.drivers.iterdir() if p.suffix == ".json" and p.stem.isdigit()]
    except OSError:
        return []
    return [job for path in sorted(files, key=lambda p: int(p.stem)) if (job := _read(path)) is not None]


def of(paths: ExperimentPaths, job_id: str) -> DriverJob:
    """The record of one job; one with only its id if there is none."""
    return _read(_path(paths, job_id)) or DriverJob(job_id=job_id)


def _read(path: Path) -> DriverJob | None:
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
        return DriverJob(**{k: v for k, v in data.items() if k in _FIELDS})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def store_options(paths: ExperimentPaths, options: Mapping[str, Any]) -> None:
    """Store the options of driver jobs, for their successors. Raises StorageError."""
    atomic.write(paths.driver_options, values.dumps(dict(options)) + "\n")


def read_options(paths: ExperimentPaths) -> dict[str, Any] | None:
    """The options that :func:`store_options` stored; None if no driver job was ever requested. Raises StorageError."""
    try:
        data: dict[str, Any] = json.loads(paths.driver_options.read_bytes())
        return data
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"Cannot read {paths.driver_options}: {error}.") from error
