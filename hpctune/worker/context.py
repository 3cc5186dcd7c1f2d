"""The functions that user code calls inside a trial."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from hpctune.checkpoint import Checkpoint
from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.model.records import Control
from hpctune.storage import checkpoints
from hpctune.storage.layout import TrialPaths
from hpctune.worker import client
from hpctune.worker.ranks.session import current_rank
from hpctune.worker.ranks.world import World
from hpctune.worker.session import current
from hpctune.worker.storage_retry import retry_storage

_warned = False
_staged: Path | None = None
"""Directory that ``checkpoint_dir`` made in a child of the trial's process; the child's next report sends it."""


class RunningTrial(Protocol):
    """The trial of this process: its session, or that of one of its ranks."""

    control: Control
    paths: TrialPaths
    pid: int
    restored: Path | None
    newest_checkpoint: Path | None

    def report(self, metrics: Mapping[str, Any], checkpoint: Path | None = None, *, final: bool = False) -> None:
        """Report one result."""

    def stage(self, directory: Path) -> None:
        """Save ``directory`` with the next report."""


def _running() -> RunningTrial | None:
    return current() or current_rank()


def report(_metric: Any = None, *, checkpoint: Checkpoint | None = None, **metrics: Any) -> None:
    """Report one result of the running trial.

    Both forms of Ray Tune's call work: ``report(loss=0.3, acc=0.9)`` and ``report({"loss": 0.3},
    checkpoint=Checkpoint(...))``. ``report(0.3)`` reports ``_metric``. The call appends a line and returns. If the
    trial must end, it raises an exception that is not an ``Exception``. In a child process, or in a program started
    by the trial, the report goes to the trial's process. Outside a trial it warns once and does nothing. A result is
    limited to 1 MiB as JSON: values beyond that are left out, with a note in their place and on stderr.

    A trial that chooses parameters itself may state them: ``report(loss=0.3, config={"lr": 0.1})``. They are shown as
    its configuration, with what it was given.

    Raises:
        UsageError: if there is nothing to report, or the result is not a dict of values.
        CheckpointError: if the checkpoint cannot be saved.
    """
    row = _row(_metric, metrics)
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise UsageError(f"checkpoint must be a Checkpoint, not {checkpoint!r}. Use Checkpoint.from_directory(path).")
    report_row(row, Path(checkpoint.path) if checkpoint is not None else None)


def report_row(row: Mapping[str, Any], checkpoint: Path | None = None) -> None:
    """Report ``row``, whether this process is the trial's, a child of it, or neither."""
    global _staged
    session = _own_session()
    if session is not None:
        session.report(row, checkpoint)
    elif client.inside_trial():
        staged, _staged = _staged, None
        if client.send_report(row, checkpoint or staged).stop:
            raise SystemExit(0)
    else:
        _warn()


def _row(metric: Any, metrics: dict[str, Any]) -> dict[str, Any]:
    if metric is None and len(metrics) == 1 and isinstance(metrics.get("metrics"), Mapping):
        metric, metrics = metrics["metrics"], {}  # the argument's name in Ray Tune
    if isinstance(metric, Mapping):
        return {**{str(k): v for k, v in metric.items()}, **metrics}
    if metric is not None:
        return {"_metric": metric, **metrics}
    if not metrics:
        raise UsageError("report() needs something to report, such as report(loss=0.3) or report({'loss': 0.3}).")
    return metrics


def _warn() -> None:
    global _warned
    if not _warned:
        _warned = True
        log.warning("hpctune.report() was called outside a trial; the call has no effect.")


def _own_session() -> RunningTrial | None:
    """The session, if this process is the trial's (and not a child of it)."""
    session = _running()
    return session if session is not None and session.pid == os.getpid() else None


@contextlib.contextmanager
def checkpoint_dir(step: int) -> Iterator[str]:
    """Yield a directory for a checkpoint. The next report saves it.

    ``step`` is accepted for compatibility and unused: checkpoints are numbered by training iteration.
    """
    global _staged
    session, root = _own_session(), get_trial_dir()
    if root is None:
        raise UsageError("checkpoint_dir() only works inside a trial.")
    directory = retry_storage(lambda: checkpoints.staging(TrialPaths(Path(root))))
    try:
        yield str(directory)
    except BaseException:
        checkpoints.discard(directory)
        raise
    if session is not None:
        session.stage(directory)
    else:
        _staged = directory


def get_checkpoint() -> Checkpoint | None:
    """The checkpoint from which the trial continues; None for a fresh start and outside a trial.

    A program started by a trial finds it through the environment.
    """
    session = _running()
    if session is not None:
        newest = session.newest_checkpoint
        return Checkpoint(newest) if newest is not None else None
    path = os.environ.get(client.CHECKPOINT_VARIABLE)
    return Checkpoint(path) if path else None


def is_session_enabled() -> bool:
    """Whether this process runs a trial."""
    return _running() is not None


def get_trial_id() -> str | None:
    """The id of the running trial, also in programs that it started; None outside a trial."""
    session = _running()
    return session.control.trial_id if session is not None else os.environ.get(client.TRIAL_ID_VARIABLE)


def get_trial_name() -> str | None:
    """The name of the running trial, also in programs that it started; None outside a trial."""
    session = _running()
    return session.control.trial_name if session is not None else os.environ.get(client.TRIAL_NAME_VARIABLE)


def get_trial_dir() -> str | None:
    """The directory of the running trial, also in programs that it started; None outside a trial."""
    session = _running()
    return str(session.paths.root) if session is not None else os.environ.get(client.TRIAL_DIR_VARIABLE)


def get_trial_resources() -> Any:
    """The resources that the running trial requested, as a PlacementGroupFactory; None outside a trial."""
    from hpctune.model.resources import PlacementGroupFactory

    session = _running()
    if session is None:
        return None
    asked = session.control.resources
    bundles = [
        {"CPU": b["cpu"], **({"GPU": b["gpu"]} if b["gpu"] else {}), **(b["custom_resources"] or {})}
        | ({"memory": b["memory"]} if b["memory"] else {})
        for b in asked["bundles"]
    ]
    return PlacementGroupFactory(bundles, asked["strategy"])


class TuneContext:
    """Facts about the running trial. Outside a trial every method returns None, or describes a single process."""

    def get_experiment_name(self) -> str | None:
        """The name of the experiment."""
        directory = get_trial_dir()
        return Path(directory).parent.name if directory is not None else None

    def get_trial_name(self) -> str | None:
        """The trial's name."""
        return get_trial_name()

    def get_trial_id(self) -> str | None:
        """The trial's id."""
        return get_trial_id()

    def get_trial_resources(self) -> Any:
        """The resources that the trial requested."""
        return get_trial_resources()

    def get_trial_dir(self) -> str | None:
        """The trial's directory."""
        return get_trial_dir()

    def get_metadata(self) -> dict[str, Any]:
        """Metadata of the experiment: always empty in hpctune."""
        return {}

    def get_world_size(self) -> int:
        """The number of processes of a distributed trial, else of tasks of the job."""
        world = _world()
        return int(os.environ.get("SLURM_NTASKS", "1")) if world is None else world.size

    def get_world_rank(self) -> int:
        """The index of this process, from 0."""
        world = _world()
        return int(os.environ.get("SLURM_PROCID", "0")) if world is None else world.rank

    def get_local_rank(self) -> int:
        """The index of this process on its node, from 0."""
        world = _world()
        return int(os.environ.get("SLURM_LOCALID", "0")) if world is None else world.local_rank

    def get_local_world_size(self) -> int:
        """The number of processes on this node."""
        world = _world()
        if world is not None:
            return world.local_size
        first = os.environ.get("SLURM_TASKS_PER_NODE", "1").split(",")[0]
        return int(first.split("(")[0])

    def get_node_rank(self) -> int:
        """The index of this node in the job, from 0."""
        world = _world()
        return int(os.environ.get("SLURM_NODEID", "0")) if world is None else world.node_rank


def _world() -> World | None:
    session = current_rank()
    return session.world if session is not None else None


def get_context() -> TuneContext:
    """Facts about the running trial."""
    return TuneContext()
