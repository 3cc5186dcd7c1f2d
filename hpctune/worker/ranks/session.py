"""The running trial in one of its ranks: the counterpart of the head's session for user code."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpctune.errors import CheckpointError, TuneError
from hpctune.model.records import Control
from hpctune.storage import checkpoints, values
from hpctune.storage.layout import TrialPaths
from hpctune.worker.end_of_run import EndOfRun
from hpctune.worker.ranks.link import ENDED, Link
from hpctune.worker.ranks.world import World
from hpctune.worker.storage_retry import retry_storage


class RankSession:
    """One rank of one run. ``restored``: the checkpoint from which the run starts, if any."""

    def __init__(
        self, control: Control, paths: TrialPaths, restored: Path | None, world: World, link: Link, together: bool
    ) -> None:
        self.control, self.paths, self.restored, self.world = control, paths, restored, world
        self.newest_checkpoint = restored
        self.pid = os.getpid()
        self.together = together
        """Every rank reports, and none goes on before all have."""
        self._link = link
        self._staged: Path | None = None

    @property
    def counts(self) -> bool:
        """Whether the head hears of the reports of this rank."""
        return self.together or self.world.rank == 0

    def report(self, metrics: Mapping[str, Any], checkpoint: Path | None = None, *, final: bool = False) -> None:
        """Report to the head, if this rank's reports count. Raises EndOfRun if the trial is over."""
        if self._link.over.is_set():
            raise EndOfRun(None, ENDED)
        staged, self._staged = self._staged, None
        if checkpoint is not None and staged is not None:
            checkpoints.discard(staged)
        source = checkpoint or staged
        if not self.counts:
            if staged is not None:
                checkpoints.discard(staged)
            return
        shared = None if source is None else self._shared(source)
        row = values.plain(dict(metrics))
        answer = self._link.ask({"report": row, "checkpoint": str(shared) if shared else None, "final": final})
        if answer.get("stop"):
            raise EndOfRun(None, ENDED)
        if "error" in answer:
            kind = CheckpointError if answer.get("counted") else TuneError
            raise kind(answer["error"])
        if answer.get("checkpoint"):
            self.newest_checkpoint = Path(answer["checkpoint"])

    def _shared(self, source: Path) -> Path:
        """``source`` where the head sees it. Rank 0 is on the head's node; others may be on nodes of their own."""
        if self.world.rank == 0 or source.parent == self.paths.root:
            return source.absolute()
        directory = retry_storage(lambda: checkpoints.staging(self.paths))
        try:
            shutil.copytree(source, directory, dirs_exist_ok=True)
        except OSError as error:
            checkpoints.discard(directory)
            raise CheckpointError(f"Cannot copy the checkpoint {source} to {directory}: {error}.") from error
        return directory

    def stage(self, directory: Path) -> None:
        """Save ``directory`` with the next report. A directory that was staged before and not reported is dropped."""
        if self._staged is not None:
            checkpoints.discard(self._staged)
        self._staged = directory

    def left_over(self) -> str | None:
        """What was staged after the last report, if it counts; else it is dropped."""
        staged, self._staged = self._staged, None
        if staged is not None and self.world.rank != 0:
            checkpoints.discard(staged)
            return None
        return str(staged) if staged is not None else None


_current: RankSession | None = None


def current_rank() -> RankSession | None:
    """The session of this process, if it is a rank."""
    return _current


def set_current_rank(session: RankSession | None) -> None:
    """Set the session of this process."""
    global _current
    _current = session
