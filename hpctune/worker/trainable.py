"""``Trainable``: the class form of a trainable, with the method names of every generation of Ray Tune."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.checkpoint import Checkpoint
from hpctune.errors import CheckpointError, TrainableError
from hpctune.storage import checkpoints
from hpctune.worker.autofill import Counters
from hpctune.worker.session import current

SAVED_DICT = "checkpoint_dict.pkl"
_OLD = {
    "setup": "_setup",
    "step": "_train",
    "save_checkpoint": "_save",
    "load_checkpoint": "_restore",
    "cleanup": "_stop",
    "log_result": "_log_result",
    "export_model": "_export_model",
}


class Trainable:
    """Derive from it and override ``setup`` and ``step``; ``save_checkpoint`` and ``load_checkpoint`` to survive.

    The underscored names of Ray Tune 0.x (``_setup``, ``_train``, ``_save``, ``_restore``, ``_stop``) work as well.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for new, old in _OLD.items():
            if old in cls.__dict__ and new not in cls.__dict__:
                setattr(cls, new, cls.__dict__[old])

    def __init__(self, config: Mapping[str, Any] | None = None, storage: None = None) -> None:
        self.config: dict[str, Any] = dict(config or {})
        self._counters = Counters(checkpoints.Progress())
        self.setup(self.config)

    # -- to be overridden ---------------------------------------------------------------------------------------

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare; called once, before the first step."""

    def step(self) -> dict[str, Any]:
        """Train for one iteration and return its result."""
        raise TrainableError(f"{type(self).__name__} has no step(): override it, and return a dict of results.")

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | str | None:
        """Write what is needed to go on into ``checkpoint_dir``, or return it as a dict.

        A path may be returned as well: the directory, or a file or directory in it.
        """
        raise TrainableError(
            f"{type(self).__name__} cannot be saved: override save_checkpoint(checkpoint_dir) and load_checkpoint."
        )

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from what ``save_checkpoint`` made: the dict that it returned, else the directory or path."""
        raise TrainableError(f"{type(self).__name__} cannot be restored: override load_checkpoint(checkpoint).")

    def cleanup(self) -> None:
        """Release what is held; called once, at the end."""

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
        """What a trial with this configuration needs; None: what the user says, else one CPU."""
        return None

    @classmethod
    def resource_help(cls, config: dict[str, Any]) -> str:
        """A hint for people on what to ask for."""
        return ""

    # -- what runs it -------------------------------------------------------------------------------------------

    @property
    def can_save(self) -> bool:
        """Whether checkpoints can be made."""
        return type(self).save_checkpoint is not Trainable.save_checkpoint

    def train_step(self) -> dict[str, Any]:
        """One step, checked: the user's part of a result."""
        result = self.step()
        if not isinstance(result, Mapping):
            raise TrainableError(f"{type(self).__name__}.step() must return a dict of results, not {result!r}.")
        row = dict(result)
        self.log_result(row)
        return row

    def train(self) -> dict[str, Any]:
        """One step with its filled-in fields, outside a trial: for tests and notebooks."""
        row = self.train_step()
        fields = self._counters.next_fields(row)
        return {"done": False, **row, **fields, "config": self.config, "trial_id": self.trial_id or "default"}

    def write_checkpoint(self, directory: Path) -> None:
        """Let ``save_checkpoint`` fill ``directory``."""
        saved = self.save_checkpoint(str(directory))
        if saved is None:
            return
        if isinstance(saved, Mapping):
            (directory / SAVED_DICT).write_bytes(_dumps({"data": dict(saved)}))
            return
        path = Path(str(saved))
        path = path if path.is_absolute() else directory / path
        if not path.exists() or (path != directory and directory not in path.parents):
            raise CheckpointError(f"save_checkpoint returned {saved!r}, which is not in {directory}.")
        if path != directory:
            (directory / SAVED_DICT).write_bytes(_dumps({"path": str(path.relative_to(directory))}))

    def read_checkpoint(self, directory: Path) -> None:
        """Give ``load_checkpoint`` what ``save_checkpoint`` made."""
        saved = directory / SAVED_DICT
        if not saved.is_file():
            self.load_checkpoint(str(directory))
            return
        content = pickle.loads(saved.read_bytes())
        self.load_checkpoint(content["data"] if "data" in content else str(directory / content["path"]))

    def save(self, checkpoint_dir: str | None = None) -> Checkpoint:
        """Save outside a trial; returns the checkpoint."""
        directory = Path(checkpoint_dir or tempfile.mkdtemp(prefix="hpctune-checkpoint-"))
        directory.mkdir(parents=True, exist_ok=True)
        self.write_checkpoint(directory)
        checkpoints.write_progress(directory, self._counters.progress())
        return Checkpoint(directory)

    def restore(self, checkpoint_path: str | Checkpoint) -> None:
        """Go on from a checkpoint, outside a trial."""
        directory = Path(os.fspath(checkpoint_path))
        self.read_checkpoint(directory)
        self._counters = Counters(checkpoints.read_progress(directory))

    def stop(self) -> None:
        """End: calls ``cleanup``."""
        self.cleanup()

    def reset(self, new_config: dict[str, Any]) -> bool:
        """Take another configuration in place, if ``reset_config`` can."""
        if not self.reset_config(new_config):
            return False
        self.config = dict(new_config)
        self._counters = Counters(checkpoints.Progress())
        return True

    # -- where it is --------------------------------------------------------------------------------------------

    @property
    def logdir(self) -> str:
        """The trial's directory; the working directory outside a trial."""
        session = current()
        return str(session.paths.root) if session is not None else str(Path.cwd())

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
        """What the trial asked for; None outside a trial."""
        from hpctune.worker.context import get_trial_resources

        return get_trial_resources()

    @property
    def iteration(self) -> int:
        """Iterations so far."""
        session = current()
        return (session.counters if session is not None else self._counters).iteration

    @property
    def training_iteration(self) -> int:
        """Iterations so far."""
        return self.iteration

    def get_config(self) -> dict[str, Any]:
        """The configuration."""
        return self.config


def _dumps(value: Any) -> bytes:
    import cloudpickle

    data: bytes = cloudpickle.dumps(value)
    return data
