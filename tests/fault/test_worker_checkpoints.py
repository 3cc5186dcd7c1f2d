"""A process killed at every single step of saving or deleting a checkpoint."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpctune.model.ids import RunKey
from hpctune.storage import checkpoints
from hpctune.storage.layout import CHECKPOINT_PREFIX, TrialPaths
from hpctune.storage.ownership import PROGRESS_FILE

RUN = RunKey("t_00000", 1, 0)
FILES = ("a", "b", "c")
FILE_EVENTS = ("open", "os.", "shutil.")


def _killed_at(step: int, act: Callable[[], object]) -> bool:
    """Do ``act`` in a child that is killed at its ``step``-th call about files; False when it ended before."""
    child = os.fork()
    if child == 0:
        left = [step]

        def count(event: str, _: object) -> None:
            if event.startswith(FILE_EVENTS) and event != "os.kill":
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("staged", [False, True])
def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path, staged: bool) -> None:
    step, seen = 0, set()
    while True:
        trial = TrialPaths(tmp_path / str(step))
        trial.root.mkdir()
        source = checkpoints.staging(trial) if staged else tmp_path / f"source-{step}"
        source.mkdir(exist_ok=True)
        for name in FILES:
            (source / name).write_text("x" * 100)
        killed = _killed_at(step, lambda: checkpoints.persist(source, trial, RUN, checkpoints.Progress(3)))  # noqa: B023
        made = [p for p in trial.root.iterdir() if p.name.startswith(CHECKPOINT_PREFIX)]
        for checkpoint in made:
            assert {p.name for p in checkpoint.iterdir()} == {*FILES, PROGRESS_FILE}
            assert all((checkpoint / name).read_text() == "x" * 100 for name in FILES)
            assert checkpoints.read_progress(checkpoint).iteration == 3
        checkpoints.tidy(trial, trial.names())
        assert list(trial.root.iterdir()) == made
        seen.add(len(made))
        if not killed:
            break
        step += 1
    assert step >= 10
    assert seen == {0, 1}


def test_a_checkpoint_is_deleted_whole_or_not_at_all(tmp_path: Path) -> None:
    step = 0
    while True:
        trial = TrialPaths(tmp_path / str(step))
        checkpoint = trial.checkpoint("checkpoint_000001")
        checkpoint.mkdir(parents=True)
        for name in FILES:
            (checkpoint / name).touch()
        killed = _killed_at(step, lambda: checkpoints.delete(checkpoint))  # noqa: B023
        assert not checkpoint.exists() or len(list(checkpoint.iterdir())) == len(FILES)
        if not killed:
            break
        step += 1
    assert not checkpoint.exists()
    assert step > 3
