"""``Trainable``: the class form of a trainable, with the method names of every generation of Ray Tune."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.checkpoint import SAVED_FILE, Checkpoint
from hpctune.common import unpickling
from hpctune.errors import CheckpointError, StorageError, TrainableError
from hpctune.storage import atomic, checkpoints, values
from hpctune.worker.autofill import Counters, node_ip
from hpctune.worker.session import current

_UNDERSCORED = {
    "setup": "_setup",
    "step": "_train",
    "save_checkpoint": "_save",
    "load_checkpoint": "_restore",
    "cleanup": "_stop",
    "log_result": "_log_result",
}
"""Method names of Ray Tune 0.x, by today's name."""
_EXPORT = {"export_model": "_export_model"}
"""Ray Tune has both names, and calls the second one."""


def _progress(trainable: Trainable) -> checkpoints.Progress:
    session = current()
    return (session.counters if session is not None else trainable._hpctune_counters).progress()


class _CounterAlias:
    """A counter that old scripts read, and may replace by an attribute of their own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, trainable: Trainable | None, owner: type) -> Any:
        return self if trainable is None else getattr(_progress(trainable), self._name)


class Trainable:
    """Base class: override ``setup`` and ``step``; add ``save_checkpoint`` and ``load_checkpoint`` for checkpoints.

    The underscored names of Ray Tune 0.x (``_setup``, ``_train``, ``_save``, ``_restore``, ``_stop``) are used in
    classes that define ``_train``. In other classes they are ordinary methods. ``_export_model`` is another name of
    ``export_model`` in all classes.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        older = _own_definition(cls, "step", "_train") == "_train"
        names = {**_UNDERSCORED, **_EXPORT} if older else _EXPORT
        aliases = [new for new, old in names.items() if _own_definition(cls, new, old) == old]
        for new in aliases:
            setattr(cls, new, getattr(cls, names[new]))
        cls._hpctune_aliases = frozenset(aliases)

    _hpctune_aliases: frozenset[str] = frozenset()
    """The methods of a class that were set from the underscored names."""

    def __init__(
        self, config: Mapping[str, Any] | None = None, logger_creator: Any = None, storage: Any = None, **old: Any
    ) -> None:
        """``logger_creator``: a function of the configuration that makes a Logger, for use outside a trial: it gets the
        results of :meth:`train`. The other arguments are accepted from scripts that pass them on."""
        self.config: dict[str, Any] = dict(config or {})
        self._hpctune_counters = Counters(checkpoints.Progress())
        self._hpctune_logger = logger_creator(self.config) if logger_creator is not None else None
        self.setup(self.config)

    # -- to be overridden ---------------------------------------------------------------------------------------

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the training; called once, before the first step."""

    def step(self) -> dict[str, Any]:
        """Train for one iteration and return its result."""
        raise TrainableError(f"{type(self).__name__} has no step() method. Override it, and return a dict of results.")

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | str | None:
        """Write the state needed to continue into ``checkpoint_dir``, or return it as a dict.

        A path may also be returned: the directory, or a file or directory in it.
        """
        raise TrainableError(
            f"{type(self).__name__} cannot be saved: override save_checkpoint(checkpoint_dir) and load_checkpoint."
        )

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Restore from what ``save_checkpoint`` made: the dict that it returned, else the directory or path."""
        raise TrainableError(f"{type(self).__name__} cannot be restored: override load_checkpoint(checkpoint).")

    def cleanup(self) -> None:
        """Release resources; called once, at the end."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another configuration in place; return True if that is possible."""
        return False

    def log_result(self, result: dict[str, Any]) -> None:
        """Called with each result before it is reported."""

    def export_model(self, export_formats: Any, export_dir: str | None = None) -> dict[str, str]:
        """Write the model in each of the formats; returns the path of each."""
        return {}

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        """The request of a trial with this configuration; None: the user's request, else one CPU."""
        return None

    @classmethod
    def resource_help(cls, config: dict[str, Any]) -> str:
        """A hint for users on the resources to request."""
        return ""

    # -- what runs it -------------------------------------------------------------------------------------------

    def train(self) -> dict[str, Any]:
        """Run one step and return its result with the automatic fields. For tests and notebooks, outside a trial."""
        row = step_once(self)
        fields = self._hpctune_counters.next_fields(row)
        result = {"done": False, **row, **fields, "config": self.config, "trial_id": self.trial_id or "default"}
        if self._hpctune_logger is not None:
            self._hpctune_logger.on_result(result)
        return result

    def save(self, checkpoint_dir: str | None = None) -> Checkpoint:
        """Save outside a trial; returns the checkpoint."""
        directory = Path(checkpoint_dir or tempfile.mkdtemp(prefix="hpctune-checkpoint-"))
        directory.mkdir(parents=True, exist_ok=True)
        write_checkpoint(self, directory)
        checkpoints.write_progress(directory, self._hpctune_counters.progress())
        return Checkpoint(directory)

    def restore(self, checkpoint_path: str | Checkpoint) -> None:
        """Restore from a checkpoint, outside a trial: its directory, or the path that ``save_checkpoint`` returned."""
        directory = checkpoints.directory_of(Path(os.fspath(checkpoint_path)))
        self._hpctune_counters = Counters(checkpoints.read_progress(directory))
        read_checkpoint(self, directory)

    def save_to_object(self) -> bytes:
        """Save outside a trial; returns the checkpoint as one value."""
        with tempfile.TemporaryDirectory(prefix="hpctune-checkpoint-") as directory:
            return self.save(directory).to_bytes()

    def restore_from_object(self, obj: bytes) -> None:
        """Restore from what :meth:`save_to_object` returned."""
        self.restore(Checkpoint.from_bytes(obj))

    def stop(self) -> None:
        """Call ``cleanup``."""
        if self._hpctune_logger is not None:
            self._hpctune_logger.close()
        self.cleanup()

    def reset(self, new_config: dict[str, Any], logger_creator: Any = None, storage: Any = None) -> bool:
        """Take another configuration in place, if ``reset_config`` allows it."""
        if not self.reset_config(new_config):
            return False
        if logger_creator is not None:
            if self._hpctune_logger is not None:
                self._hpctune_logger.close()
            self._hpctune_logger = logger_creator(new_config)
        self.config = dict(new_config)
        self._hpctune_counters = Counters(checkpoints.Progress())
        return True

    # -- where it is --------------------------------------------------------------------------------------------

    @property
    def logdir(self) -> str:
        """The trial's directory; outside a trial that of the logger, else the working directory."""
        session = current()
        if session is not None:
            return str(session.paths.root)
        return str(self._hpctune_logger.logdir if self._hpctune_logger is not None else Path.cwd())

    @property
    def trial_name(self) -> str:
        """The trial's name; "default" outside a trial."""
        session = current()
        return session.control.trial_name if session is not None else "default"

    @property
    def trial_id(self) -> str:
        """The trial's id; "default" outside a trial."""
        session = current()
        return session.control.trial_id if session is not None else "default"

    @property
    def trial_resources(self) -> Any:
        """The resources that the trial requested; None outside a trial."""
        from hpctune.worker.context import get_trial_resources

        return get_trial_resources()

    @property
    def iteration(self) -> int:
        """Iterations so far."""
        session = current()
        return (session.counters if session is not None else self._hpctune_counters).iteration

    @property
    def training_iteration(self) -> int:
        """Iterations so far."""
        return self.iteration

    _iteration = _CounterAlias("iteration")
    _time_total = _CounterAlias("time_total_s")
    _timesteps_total = _CounterAlias("timesteps_total")
    _episodes_total = _CounterAlias("episodes_total")

    def get_state(self) -> dict[str, Any]:
        """The counters of the training."""
        progress = _progress(self)
        return {
            "iteration": progress.iteration,
            "timesteps_total": progress.timesteps_total,
            "time_total": progress.time_total_s,
            "episodes_total": progress.episodes_total,
        }

    @staticmethod
    def get_current_ip_pid() -> tuple[str, int]:
        """The address of this node and the id of this process."""
        return node_ip(), os.getpid()

    def get_config(self) -> dict[str, Any]:
        """The configuration."""
        return self.config


for _new, _old in {**_UNDERSCORED, **_EXPORT}.items():  # what super()._setup(config) calls
    setattr(Trainable, _old, getattr(Trainable, _new))


def _own_definition(cls: type, new: str, old: str) -> str | None:
    """Which of the two names the most derived class uses that defines either; None if only Trainable does."""
    for base in cls.__mro__[: cls.__mro__.index(Trainable)]:
        members = vars(base)
        if new in members and new not in members.get("_hpctune_aliases", ()):
            return new
        if old in members:
            return old
    return None


# -- functions, not methods, so that a user's class may use any method name ---------


def step_once(trainable: Trainable) -> dict[str, Any]:
    """Run one step and check it; returns the user's part of the result."""
    result = trainable.step()
    if not isinstance(result, Mapping):
        raise TrainableError(f"{type(trainable).__name__}.step() must return a dict of results, not {result!r}.")
    row = dict(result)
    trainable.log_result(row)
    return row


def write_checkpoint(trainable: Trainable, directory: Path) -> None:
    """Call ``save_checkpoint`` to fill ``directory``."""
    saved = trainable.save_checkpoint(str(directory))
    if saved is None:
        return
    if isinstance(saved, Mapping):
        _write_note(directory, {"data": dict(saved)})
        return
    path = directory / str(saved)
    if not path.exists() or not path.resolve().is_relative_to(directory.resolve()):
        raise CheckpointError(f"save_checkpoint returned {saved!r}, which is not in {directory}.")
    if path.resolve() != directory.resolve():
        _write_note(directory, {"path": str(path.resolve().relative_to(directory.resolve()))})


def read_checkpoint(trainable: Trainable, directory: Path) -> None:
    """Call ``load_checkpoint`` with what ``save_checkpoint`` made."""
    note = directory / SAVED_FILE
    if not note.is_file():
        trainable.load_checkpoint(str(directory))
        return
    content = unpickling.loads(values.trusted_bytes(note))
    trainable.load_checkpoint(content["data"] if "data" in content else str(directory / content["path"]))


def _write_note(directory: Path, content: Mapping[str, Any]) -> None:
    from hpctune.usercode.pickling import dump_value

    try:
        atomic.write(directory / SAVED_FILE, dump_value(content))
    except StorageError as error:
        raise CheckpointError(f"Cannot save a checkpoint in {directory}: {error}") from error
