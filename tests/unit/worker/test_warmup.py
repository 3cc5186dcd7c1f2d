"""What a worker does before its first trial changes nothing that the trials can see."""

from __future__ import annotations

import errno
import os
import random
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune.storage import bundle, control_file, objects
from hpctune.storage.layout import ExperimentPaths
from hpctune.worker import runners, scratch
from hpctune.worker.pool import warmup
from hpctune.worker.session import current


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where directories in memory are made."""
    monkeypatch.setattr(scratch, "SOCKET_PARENTS", (str(tmp_path),))
    monkeypatch.setattr(bundle, "_preloaded", None)
    monkeypatch.setattr(objects, "_objects", None)
    monkeypatch.setattr(runners, "_known", (None, ""))
    return tmp_path


def surroundings() -> dict[str, Any]:
    return {
        "environment": dict(os.environ),
        "directory": Path.cwd(),
        "import path": list(sys.path),
        "signals": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "session": current(),
        "random numbers": random.getstate(),
    }


def test_it_leaves_everything_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    for told in (None, "17"):
        if told is not None:
            monkeypatch.setenv("HPCTUNE_STORAGE_PATIENCE_S", told)
        before, threads = surroundings(), len(list(Path("/proc/self/task").iterdir()))
        assert warmup.warm_up()
        assert surroundings() == before
        assert len(list(Path("/proc/self/task").iterdir())) <= threads
    assert list(place.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_what_it_has_run_is_not_taken_for_the_users_code(place: Path) -> None:
    assert warmup.warm_up()
    assert not bundle.preloaded(ExperimentPaths(place / "exp"))
    bundle.save(ExperimentPaths(place), len, None)
    assert not bundle.preloaded(ExperimentPaths(place))
    assert bundle.load_trainable(ExperimentPaths(place)) is len


def test_every_run_goes_all_the_way(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = list[Any]()
    monkeypatch.setattr(hpctune, "report", lambda row: reported.append((row, current())))
    assert warmup.warm_up()
    assert [row for row, _ in reported] == [{"loss": 0.5}] * warmup.WARMUP_RUNS
    assert all(session is not None and session.ending is None for _, session in reported)


def test_where_there_is_no_room_nobody_waits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = threading.active_count()

    def refuse(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(control_file, "publish", refuse)
        assert not warmup.warm_up()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda thread: exec("raise RuntimeError('no thread can be started')"))
        assert not warmup.warm_up()
    monkeypatch.setattr(scratch, "SOCKET_PARENTS", ("/nonexistent",))
    assert not warmup.warm_up()
    assert list(place.iterdir()) == []
    assert threading.active_count() == threads


def test_a_forked_trial_believes_what_its_worker_has_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_inherited", "")
    paths = ExperimentPaths(place)
    bundle.save(paths, len, None)
    bundle.preload(paths)
    assert bundle.preloaded(paths)
    bundle.save(paths, max, None)
    assert not bundle.preloaded(paths)
    assert bundle.load_trainable(paths) is max
    bundle.inherit(paths)
    assert bundle.load_trainable(paths) is len
    other = ExperimentPaths(place / "other")
    other.root.mkdir()
    bundle.save(other, max, None)
    assert bundle.load_trainable(other) is max, "the trial may run an experiment of its own"


def test_the_form_is_found_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[object]()

    def counted(trainable: object) -> str:
        asked.append(trainable)
        return "config"

    monkeypatch.setattr(runners, "form_of", counted)
    assert [runners.known_form(each) for each in (len, len, max, max)] == ["config"] * 4
    assert asked == [len, max]
