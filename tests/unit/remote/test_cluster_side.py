"""The program that runs on the cluster, as it is called there: by its path, in the directory of the cluster's entry."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpctune.remote import program
from hpctune.remote.cluster_side import output, tasks

PROGRAM = Path()
Call = Callable[..., list[dict[str, Any]]]


def command(operation: str) -> list[str]:
    """The program as it is called there, with nothing but the standard library."""
    return [sys.executable, "-I", "-S", str(PROGRAM), operation]


@pytest.fixture(autouse=True, scope="module")
def _program(tmp_path_factory: pytest.TempPathFactory) -> None:
    global PROGRAM
    PROGRAM = tmp_path_factory.mktemp("program") / "program.pyz"
    PROGRAM.write_bytes(program.build()[1])


@pytest.fixture
def call(tmp_path: Path) -> Call:
    def made(operation: str, body: bytes = b"", code: int = 0, **request: Any) -> list[dict[str, Any]]:
        text = json.dumps(request).encode() + b"\n" + body
        done = subprocess.run(command(operation), input=text, cwd=tmp_path, capture_output=True, timeout=60)
        assert done.returncode == code, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]

    return made


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def archive(*bodies: bytes, names: list[str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for body, name in zip(bodies, names or map(sha, bodies), strict=True):
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            made.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def wait_for(predicate: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_files_are_stored_whole_or_not_at_all(call: Call, tmp_path: Path) -> None:
    one, two = b"one", b"two" * 5000
    assert call("put", archive(one, two)) == [{"stored": 2}]
    assert call("look", hashes=[sha(one), sha(b"x")])[0]["missing"] == [sha(b"x")]
    whole = archive(b"three" * 5000)
    for length in (0, 100, 600, 10_000, 15_000):
        call("put", whole[:length], code=1)
    assert "came damaged" in call("put", archive(b"x", names=[sha(b"y")]), code=1)[0]["error"]
    assert "is no hash" in call("put", archive(b"x", names=["../escaped"]), code=1)[0]["error"]
    assert sorted(p.name for p in (tmp_path / "files").iterdir()) == sorted([sha(one), sha(two)])


def test_pieces_are_joined(call: Call, tmp_path: Path) -> None:
    call("put", archive(b"one", b"two"))
    for _ in range(2):  # it may be repeated
        assert call("join", hash=sha(b"onetwo"), pieces=[sha(b"one"), sha(b"two")]) == [{"joined": sha(b"onetwo")}]
    assert [p.read_bytes() for p in (tmp_path / "files").iterdir()] == [b"onetwo"]
    assert call("join", hash=sha(b"more"), pieces=[sha(b"one")], code=1)[0]["number"] == 2


def test_a_tree_is_assembled_once(call: Call, tmp_path: Path) -> None:
    call("put", archive(b"#!/bin/sh\n"))
    files = [["bin/run", sha(b"#!/bin/sh\n"), True], ["link", "bin/run"]]
    first = call("assemble", directory="code/x-1", files=files, project="x")
    assert first == [{"directory": str(tmp_path / "code" / "x-1")}]
    assert os.access(tmp_path / "code" / "x-1" / "link", os.X_OK)
    (tmp_path / "code" / "x-1" / "written").touch()
    assert call("assemble", directory="code/x-1", files=files, project="x") == first
    assert (tmp_path / "code" / "x-1" / "written").exists(), "what runs there keeps its files"
    assert call("look", project="x")[0]["names"] == ["bin/run", "link"]
    call("assemble", directory="code/x-2", files=[["a", sha(b"gone"), False]], code=1)
    assert sorted(p.name for p in (tmp_path / "code").iterdir()) == ["x-1", "x.names"]


def test_a_task_is_started_once_by_many(call: Call, tmp_path: Path) -> None:
    script = "echo began; while [ ! -e go ]; do sleep 0.05; done; echo ended; exit 3"
    request = json.dumps({"name": "run-1", "script": script, "again": "failed"}).encode() + b"\n"
    many = [
        subprocess.Popen(command("start"), cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    said = [json.loads(process.communicate(request)[0]) for process in many]
    assert [one["began"] for one in said].count(True) == 1
    assert {one["task"] for one in said} == {"tasks/run-1/1"}
    assert {one["state"] for one in said} == {"running"}

    follower = subprocess.Popen(command("follow"), cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert follower.stdin is not None
    assert follower.stdout is not None
    follower.stdin.write(b'{"task": "tasks/run-1/1", "at": 0}\n')
    follower.stdin.flush()
    assert json.loads(follower.stdout.readline()) == {"at": 6, "text": "began\n"}
    (tmp_path / "go").touch()
    last = [json.loads(line) for line in follower.communicate()[0].splitlines() if b"alive" not in line]
    assert [frame.get("text") for frame in last] == ["ended\n", None]
    assert last[-1]["over"] == {"state": "ended", "code": 3, "experiments": []}
    # It failed and made nothing, so the same command starts it again; and not while it runs.
    again = call("start", name="run-1", script="exit 0", again="failed")[0]
    assert (again["began"], again["task"]) == (True, "tasks/run-1/2")
    wait_for((tmp_path / "tasks" / "run-1" / "2" / "exit").exists)
    assert not call("start", name="run-1", script="exit 0", again="failed")[0]["began"]
    assert call("start", name="run-1", script="exit 0", again="ended")[0]["began"]
    assert call("look", task="run-1")[0]["done"]


def test_a_task_that_made_an_experiment_is_not_started_again(call: Call, tmp_path: Path) -> None:
    script = 'echo /results/far >>"$HPCTUNE_LAUNCH_DIR"/experiments; exit 1\nexec "/x y/python" -m hpctune run --sbatch'
    task = call("start", name="run-1", script=script, again="failed")[0]["task"]
    wait_for((tmp_path / task / "exit").exists)
    found = call("start", name="run-1", script="exit 0", again="failed")[0]
    assert (found["began"], found["code"], found["experiments"]) == (False, 1, ["/results/far"])
    assert found["script"] == script
    far = {"python": "/x y/python", "sbatch": True}
    known = [call("look", experiment=name)[0]["launched"] for name in ("far", "/results/far", "other", None)]
    assert known == [far, far, None, None]


def test_a_task_outlives_who_began_it_and_may_be_lost(call: Call, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("start"), cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    process.communicate(b'{"name": "run-1", "script": "echo $$ >pid; exec sleep 600", "again": "failed"}\n')
    pid = tmp_path / "pid"
    wait_for(lambda: pid.exists() and pid.read_text())
    script = int(pid.read_text())
    supervisor = int(Path(f"/proc/{script}/stat").read_text().rpartition(")")[2].split()[1])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGHUP)
    assert call("start", name="run-1", script="", again="ended")[0]["state"] == "running"
    for one in (supervisor, script):
        os.kill(one, signal.SIGKILL)
    long_ago = time.time() - 2 * tasks.DEAD_S
    os.utime(tmp_path / "tasks" / "run-1" / "1" / "alive", (long_ago, long_ago))
    assert call("follow", task="tasks/run-1/1", at=0)[-1]["over"]["state"] == "lost"
    assert call("start", name="run-1", script="exit 0", again="failed")[0]["began"]


def test_the_end_of_a_long_output(call: Call, tmp_path: Path) -> None:
    task = call("start", name="run-1", script="seq 1 1000", again="failed")[0]["task"]
    wait_for((tmp_path / task / "exit").exists)
    text = "".join(frame.get("text", "") for frame in call("follow", task=task, at=-100))
    assert text.splitlines()[0].isdigit()
    assert text.endswith("\n999\n1000\n")
    assert len(text) <= 100


def test_the_output_of_driver_jobs_in_their_order(call: Call, tmp_path: Path) -> None:
    drivers = tmp_path / "far" / "drivers"
    drivers.mkdir(parents=True)
    (drivers / "9.out").write_text("first\n")
    (drivers / "10.out").write_text("second\nthird\n")
    done = ["echo", json.dumps({"state": "finished", "failed": []})]
    frames = call("follow_driver", experiment=str(tmp_path / "far"), job=0, at=0, status=done)
    assert [(f["job"], f["text"]) for f in frames[:-1]] == [(9, "first\n"), (10, "second\nthird\n")]
    assert frames[-1]["over"]["state"] == "finished"
    frames = call("follow_driver", experiment=str(tmp_path / "far"), job=10, at=7, status=done)
    assert [f.get("text") for f in frames] == ["third\n", None]
    frames = call("follow_driver", experiment=str(tmp_path / "far"), job=0, at=-6, status=done)
    assert [f.get("text") for f in frames] == ["third\n", None]


@pytest.mark.parametrize(
    ("status", "over"),
    [
        ({"state": "finished"}, True),
        ({"state": "running"}, False),
        ({"state": "gone", "driver": {"jobs": {"running": None, "waiting": [{"job_id": "7"}]}}}, False),
        ({"state": "left", "driver": {"jobs": None}}, True),
        ({"state": "new", "driver": None}, False),
    ],
)
def test_whether_somebody_goes_on_with_it(status: dict[str, Any], over: bool) -> None:
    assert output._is_over(status) is over


def test_a_request_that_broke_off_does_nothing(tmp_path: Path) -> None:
    done = subprocess.run(command("use"), input=b'{"python": "/usr/bin', cwd=tmp_path, capture_output=True)
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
