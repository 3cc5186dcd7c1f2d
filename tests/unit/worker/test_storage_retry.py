"""A filesystem that refuses for a while: the trial waits, loses nothing, and gives up in good order."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune.errors import CheckpointError, StorageError
from hpctune.model.records import Outcome
from hpctune.storage import atomic, bundle, checkpoints, control_file, run_file
from hpctune.worker import storage_retry
from tests.support.worker_lab import Lab

REFUSALS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS]


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += max(seconds, 0.001)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(storage_retry, "time", clock)
    return clock


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def refusing(real: Callable[..., Any], number: int, times: float, *, wrapped: bool = False) -> Callable[..., Any]:
    """``real``, but the first ``times`` calls are refused."""
    left = [times]

    def call(*args: Any, **options: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            error = OSError(number, os.strerror(number))
            if wrapped:
                raise StorageError(f"Cannot read: {error}.") from error
            raise error
        return real(*args, **options)

    return call


def train(config: dict[str, Any]) -> None:
    checkpoint = hpctune.get_checkpoint()
    done = 0 if checkpoint is None else int(Path(checkpoint.path, "n").read_text())
    for n in range(done + 1, 4):
        with hpctune.checkpoint_dir(n) as directory:
            Path(directory, "n").write_text(str(n))
        hpctune.report(n=n)


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("place", ["row", "claim", "code", "orders", "checkpoint", "staging"])
def test_whatever_is_refused_for_minutes_is_done_afterwards(
    lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch, place: str, number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    lab.publish(train)
    match place:
        case "row":
            monkeypatch.setattr(run_file.os, "write", refusing(os.write, number, 9))
        case "claim":
            monkeypatch.setattr(atomic, "_write_new", refusing(atomic._write_new, number, 9))
        case "code":
            monkeypatch.setattr(bundle, "_load", refusing(bundle._load, number, 9, wrapped=True))
        case "orders":
            monkeypatch.setattr(control_file, "read", refusing(control_file.read, number, 9, wrapped=True))
        case "checkpoint":
            monkeypatch.setattr(checkpoints, "write_progress", refusing(checkpoints.write_progress, number, 9))
        case "staging":
            monkeypatch.setattr(checkpoints, "staging", refusing(checkpoints.staging, number, 9, wrapped=True))
    from hpctune.worker.main import run_attempt

    assert run_attempt(lab.paths.root, "trial", 1) == 0
    assert (lab.exit().outcome, lab.column("n"), lab.column("training_iteration")) == (
        Outcome.COMPLETED, [1, 2, 3], [1, 2, 3],
    )  # fmt: skip
    assert [bool(row.checkpoint) for row in lab.results()] == [True] * 3
    assert 30 < clock.at < 120
    told = capfd.readouterr().err
    assert "waiting, nothing is lost" in told
    assert "the storage works again after" in told


def test_after_ten_minutes_the_trial_goes_on_elsewhere_and_nothing_counts_as_a_failure(
    lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, appended = run_file.RunFile.result_text, []

    def append(self: run_file.RunFile, row: str, *saved: Any) -> int:
        if len(appended) == 2 and self.run.attempt == 1:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        appended.append(row)
        return real(self, row, *saved)

    monkeypatch.setattr(run_file.RunFile, "result_text", append)
    end = lab.run(train)
    assert (end.outcome, lab.column("n"), end.error) == (Outcome.INTERRUPTED, [1, 2], None)
    assert "quota exceeded" in end.reason
    assert storage_retry.PATIENCE_S <= clock.at < storage_retry.PATIENCE_S + 30
    restore = str(lab.trial.checkpoint(lab.results()[-1].checkpoint or ""))
    assert lab.run(train, attempt=2, restore=restore).outcome is Outcome.COMPLETED
    assert lab.column("n", attempt=2) == [3]


def test_a_checkpoint_that_cannot_be_saved_costs_neither_the_result_nor_a_failure(
    lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "write_progress", refusing(checkpoints.write_progress, errno.ENOSPC, float("inf")))
    end = lab.run(train)
    assert (end.outcome, lab.column("n"), lab.results()[0].checkpoint) == (Outcome.INTERRUPTED, [1], None)
    assert "No space left" in end.reason
    assert not [p for p in lab.trial.root.iterdir() if "checkpoint" in p.name], "nothing half is left"


def test_what_the_filesystem_may_have_forgotten_is_not_saved_by_trying_again(
    lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed fsync a second one succeeds, and the data is gone all the same."""
    monkeypatch.setattr(checkpoints, "_sync_tree", refusing(checkpoints._sync_tree, errno.EIO, 1))

    def once(config: dict[str, Any]) -> None:
        with hpctune.checkpoint_dir(1) as directory:
            Path(directory, "n").write_text("1")
        with pytest.raises(CheckpointError):
            hpctune.report(n=1)
        hpctune.report(n=2)

    lab.run(once)
    assert [(row.row["n"], row.checkpoint) for row in lab.results()] == [(1, None), (2, None)]


def test_a_signal_ends_the_waiting(lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, row: str, *saved: Any) -> int:
        import signal

        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(run_file.RunFile, "result_text", refuse)
    end = lab.run(train)
    assert (end.outcome, end.reason) == (Outcome.INTERRUPTED, "SIGTERM received")
    assert clock.at < 10


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EFBIG])
def test_what_will_not_pass_is_told_at_once(
    lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(run_file.RunFile, "result_text", refusing(run_file.RunFile.result_text, number, 1))
    end = lab.run(train)
    assert (end.outcome, clock.at) == (Outcome.FAILED, 0.0)
    assert end.error is not None
    assert end.error.kind == "StorageError"


def test_a_stale_descriptor_is_opened_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a failover of the file server: the old descriptor refuses for ever."""
    stale: set[int] = set()
    real = os.write

    def write(fd: int, data: bytes) -> int:
        if b'"n":2' in data and not stale:
            stale.add(fd)
        if fd in stale and not fresh(fd):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(fd, data)

    opened: list[int] = []
    real_open = os.open

    def note(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        fd = real_open(path, flags, mode, **more)
        if stale and str(path).endswith("run-1.0.jsonl") and flags & os.O_APPEND:
            opened.append(fd)
        return fd

    def fresh(fd: int) -> bool:
        return fd in opened

    monkeypatch.setattr(run_file.os, "write", write)
    monkeypatch.setattr(run_file.os, "open", note)
    assert lab.run(train).outcome is Outcome.COMPLETED
    assert len(opened) == 1
    assert [(row.seq, row.row["n"]) for row in lab.results()] == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_what_a_refused_write_has_left_is_cut_off(
    lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    real, calls = os.write, []

    def write(fd: int, data: bytes) -> int:
        if b'"n":2' in data or calls[-1:] == ["cut"]:
            calls.append("refused" if calls[-1:] == ["cut"] else "cut")
            if calls[-1] == "cut" and len(calls) < 8:
                return real(fd, data[:cut])
            if len(calls) < 8:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data)

    monkeypatch.setattr(run_file.os, "write", write)
    lab.run(train)
    assert lab.column("n") == [1, 2, 3]
    lines = Path(lab.trial.run(1, 0)).read_bytes().splitlines()
    assert len(lines) == 5, "a claim, three results and the exit record, and nothing torn between them"


def test_the_reasons_of_a_copied_tree_count(tmp_path: Path) -> None:
    error = shutil.Error([("a", "b", "[Errno 28] No space left on device"), ("c", "d", "[Errno 2] No such file")])
    assert storage_retry.is_transient(error)
    assert not storage_retry.is_transient(shutil.Error([("c", "d", "[Errno 2] No such file")]))
    wrapped = CheckpointError("Cannot save")
    wrapped.__cause__ = OSError(errno.ESTALE, "stale")
    assert storage_retry.is_transient(wrapped)
    assert not storage_retry.is_transient(ValueError("x"))


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("12.5", 12.5), ("-1", 0.0), ("", 600.0), ("soon", 600.0)])
def test_patience_can_be_chosen(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv(storage_retry.VARIABLE, text)
    assert storage_retry.retry_limit_s() == seconds


@pytest.mark.parametrize("number", [errno.ESTALE, None])
@pytest.mark.parametrize("saves", [True, False])
def test_a_run_whose_file_is_gone_is_over_and_leaves_no_trace(
    lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch, number: int | None, saves: bool
) -> None:
    """The node was cut off, the trial was finished elsewhere, and the driver has removed the run's file."""
    from hpctune.worker.main import run_attempt

    reported: list[int] = []

    def cut_off(config: dict[str, Any]) -> None:
        hpctune.report(n=1)
        Path(lab.trial.run(1, 0)).unlink()
        if number is not None:
            monkeypatch.setattr(run_file.os, "write", refusing(os.write, number, float("inf")))
        for n in range(2, 1000):
            clock.at += 60
            if saves:
                with hpctune.checkpoint_dir(n) as directory:
                    Path(directory, "n").write_text("")
            hpctune.report(n=n)
            reported.append(n)

    monkeypatch.setattr(bundle, "load_trainable", lambda experiment: cut_off)  # in this process, not a copy
    monkeypatch.setattr("hpctune.worker.session.LOOK_S", 0.0)
    lab.publish(train)
    assert run_attempt(lab.paths.root, "trial", 1) == 0
    assert len(reported) <= 1
    assert clock.at < 200, "there is nothing to wait for"
    assert not Path(lab.trial.run(1, 0)).exists()
    assert not [path for path in lab.trial.root.iterdir() if "checkpoint" in path.name]


def test_a_directory_that_is_not_there_is_told_and_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from hpctune.storage.layout import ExperimentPaths
    from hpctune.worker import main as worker_main
    from hpctune.worker.pool import main as pool_main

    monkeypatch.setattr(worker_main, "VISIBLE_WITHIN_S", 0.0)
    monkeypatch.setattr(pool_main, "VISIBLE_WITHIN_S", 0.0)
    assert worker_main.run_attempt(tmp_path / "away", "trial", 1) == 1
    assert f"The experiment's directory {tmp_path}/away is not there on " in caplog.text
    assert "--exclude" in caplog.text
    monkeypatch.setenv("APPTAINER_CONTAINER", "/image.sif")
    caplog.clear()
    assert pool_main.serve(ExperimentPaths(tmp_path / "away"), "w0001") == 1
    assert f"bind it into the container (apptainer exec --bind {tmp_path}/away ...)" in caplog.text
