"""The files by which a pool and its workers talk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hpctune.model.pool import Assignment, Began, Claimed, Ended, Left, Ready, Retracted, WorkerOrders, WorkerSpec
from hpctune.storage import worker_files
from hpctune.storage.layout import WorkerPaths
from hpctune.storage.worker_files import WorkerFile, WorkerTail

CLAIM = Claimed(0, "12", "node1", 77, 1000.5)
RECORDS = [
    CLAIM,
    Ready(1001.0),
    Began(1, "hpctune:e:t:1", 0, ("/a/stdout", "/a/stderr"), 1002.0),
    Ended(1, -11, 1003.0, "oom", 2.5),
    Retracted(2, 1004.0),
    Left("idle", 1005.0),
]


def test_records_arrive_as_they_were_written(tmp_path: Path) -> None:
    file = WorkerFile.claim(tmp_path / "run-0.jsonl", CLAIM)
    assert file is not None
    assert WorkerFile.claim(tmp_path / "run-0.jsonl", CLAIM) is None
    tail = WorkerTail(tmp_path / "run-0.jsonl")
    file.append(*RECORDS[1:3])
    assert tail.read() == RECORDS[:3]
    assert tail.read() == []
    file.append(*RECORDS[3:])
    assert tail.read() == RECORDS[3:]
    assert WorkerTail(tmp_path / "run-1.jsonl").read() == []


def test_what_a_full_disk_cuts_off_garbles_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run-0.jsonl"
    file = WorkerFile.claim(path, CLAIM)
    assert file is not None
    write = os.write

    def half(fd: int, data: bytes) -> int:
        write(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space"):
            file.append(RECORDS[1])
    file.append(RECORDS[1])
    assert WorkerTail(path).read() == RECORDS[:2]


def test_orders_and_what_a_worker_is(tmp_path: Path) -> None:
    paths = WorkerPaths(tmp_path)
    assert worker_files.read_spec(paths) is None
    assert worker_files.parse_orders(worker_files.read_orders(paths)) is None
    spec = WorkerSpec("e", "w0001", slots=4, cpus=0.5, gpus=0.25, start="spawn", resources={"strategy": "PACK"})
    worker_files.write_spec(paths, spec)
    assert worker_files.read_spec(paths) == spec
    orders = WorkerOrders(1, (Assignment(3, "t", ("a", "b"), "out", "err", {"K": "v"}),), (1, 2), (3,), "enough")
    file = worker_files.OrdersFile(paths)
    for told in (WorkerOrders(0), orders):
        file.publish(told)
        assert worker_files.parse_orders(worker_files.read_orders(paths)) == told
    assert worker_files.parse_orders(b'{"run": 1}') is None
