"""Small files with one writer: atomic writes, claims, run files, control files, the inbox, the definition."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpctune.errors import NotAnExperimentError, StorageError, UsageError
from hpctune.model.ids import RunKey
from hpctune.model.records import Claim, Control, ErrorInfo, Exit, Outcome, ResultRow
from hpctune.model.spec import CheckpointPolicy, ExperimentSpec
from hpctune.storage import atomic, control_file, inbox, run_file, spec_file
from hpctune.storage.inbox import Inbox
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.run_file import RunFile, RunTail

RUN = RunKey("t0", 2, 1)
CLAIM = Claim(RUN, "7", "n1", 42, 5.0, "n[1-2]", "checkpoint_000001")


@pytest.fixture
def paths(tmp_path: Path) -> ExperimentPaths:
    return ExperimentPaths(tmp_path)


def hidden(directory: Path) -> list[str]:
    return [p.name for p in directory.iterdir() if p.name.startswith(".")]


# -- atomic -----------------------------------------------------------------------------------------------------------


def test_a_write_is_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write(path, "one")
    atomic.write(path, b"two", durable=True)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StorageError, match=f"Cannot write {tmp_path / 'no' / 'file'}"):
        atomic.write(tmp_path / "no" / "file", "")
    assert hidden(tmp_path) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    atomic.write(path, "old")

    def refuse(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, place, refuse)
            with pytest.raises(StorageError, match="No space left"):
                atomic.write(path, "new", durable=True)
        assert path.read_text() == "old"
        assert hidden(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
def test_exactly_one_creates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *args: (_ for _ in ()).throw(OSError(errno.EPERM, "no links here")))
    for attempt in range(20):
        path, won = tmp_path / f"claim{attempt}", list[int]()
        barrier = threading.Barrier(8)

        def race(number: int, path: Path = path, won: list[int] = won, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            if atomic.create_exclusively(path, f"{number}".encode()):
                won.append(number)

        threads = [threading.Thread(target=race, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert path.read_text() == str(won[0])
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
def test_a_claim_on_a_full_disk_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Half a claim would keep everybody else out for ever. NFS says only at the close that the disk is full."""
    path = tmp_path / "claim"
    close, calls = os.close, list[int]()

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(fd: int) -> None:
        close(fd)
        calls.append(fd)
        if links or len(calls) == 2:
            full()

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", refuse)
        if not links:
            patch.setattr(atomic, "_NO_LINKS", frozenset({errno.ENOSPC}))
            patch.setattr(os, "link", full)
        with pytest.raises(OSError, match="No space left"):
            atomic.create_exclusively(path, b"mine")
    assert list(tmp_path.iterdir()) == []
    assert atomic.create_exclusively(path, b"mine")
    assert not atomic.create_exclusively(path, b"yours")


def test_a_link_whose_answer_was_lost_was_made_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link_twice(source: Any, target: Any) -> None:  # as NFS does when the first answer does not come
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    assert atomic.create_exclusively(tmp_path / "claim", b"mine")


# -- run files --------------------------------------------------------------------------------------------------------


def test_a_run_file_from_claim_to_exit(tmp_path: Path) -> None:
    path = tmp_path / "run-2.1.jsonl"
    tail = RunTail(path, RUN)
    assert tail.read() == []
    file = RunFile.claim(path, CLAIM)
    assert file is not None
    assert RunFile.claim(path, CLAIM) is None
    assert tail.read() == [CLAIM]
    assert file.result({"loss": 0.5, "odd": {1: (2,)}}) == 1
    assert file.result({"loss": float("inf")}, "checkpoint_1") == 2
    assert tail.read() == [
        ResultRow(RUN, 1, {"loss": 0.5, "odd": {"1": [2]}}),
        ResultRow(RUN, 2, {"loss": float("inf")}, "checkpoint_1"),
    ]
    assert tail.read() == []
    file.exit(Outcome.FAILED, "raised", 9.0, ErrorInfo("E", "m\nü", "tb"), "checkpoint_2", 3)
    file.close()
    assert tail.read() == [Exit(RUN, Outcome.FAILED, "raised", 9.0, ErrorInfo("E", "m\nü", "tb"), "checkpoint_2", 3)]
    assert len(RunTail(path, RUN).read()) == 4


def test_a_run_file_cut_at_every_byte_gives_its_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    file = RunFile.claim(path, CLAIM)
    assert file is not None
    for number in range(3):
        file.result({"i": number, "text": "ü\r\u2028"})
    file.exit(Outcome.COMPLETED, "done", 9.0)
    data, whole = path.read_bytes(), RunTail(path, RUN).read()
    growing = tmp_path / "growing"
    growing.touch()
    tail, seen = RunTail(growing, RUN), list[object]()
    with growing.open("ab", buffering=0) as out:
        for cut in range(len(data)):
            out.write(data[cut : cut + 1])
            seen += tail.read()
            assert seen == whole[: data[: cut + 1].count(b"\n")]
    assert seen == whole


def test_garbled_lines_of_a_crash_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run"
    lines = [b'{"seq":1,"row":{"i":1}}', b'{"seq":2,"ro', b"\0\0", b"5", b'{"exit":"sang"}', b'{"seq":3,"row":{"i":3}}']
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert RunTail(path, RUN).read() == [ResultRow(RUN, 1, {"i": 1}), ResultRow(RUN, 3, {"i": 3})]
    assert RunTail(tmp_path / "run" / "below", RUN).read() == []
    with pytest.raises(StorageError, match="Cannot read"):
        RunTail(tmp_path, RUN).read()


def test_a_run_starts_from_what_its_predecessor_had_not_from_what_a_zombie_saved_late() -> None:
    def claim(restart: int, restored: str | None = None) -> Claim:
        return replace(CLAIM, run=RunKey("t0", 2, restart), restored=restored)

    def row(restart: int, seq: int, checkpoint: str | None) -> ResultRow:
        return ResultRow(RunKey("t0", 2, restart), seq, {}, checkpoint)

    first = [claim(0), row(0, 1, "a"), row(0, 2, None), row(0, 3, "b")]
    assert list(run_file.checkpoints_before(RunKey("t0", 2, 0), [])) == []
    assert list(run_file.checkpoints_before(RunKey("t0", 2, 1), first)) == ["b", "a"]
    second = [*first, claim(1, "a")]
    assert list(run_file.checkpoints_before(RunKey("t0", 2, 2), second)) == ["a"], "b came too late"
    assert list(run_file.checkpoints_before(RunKey("t0", 2, 2), [*first, claim(1)])) == []
    third = [*second, row(1, 1, "c")]
    assert list(run_file.checkpoints_before(RunKey("t0", 2, 2), third)) == ["c", "a"]


def test_revoking(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert run_file.revoke(path, RUN, 5.0)
    assert not run_file.revoke(path, RUN, 6.0)
    assert RunFile.claim(path, CLAIM) is None
    claim, end = RunTail(path, RUN).read()
    assert isinstance(claim, Claim)
    assert isinstance(end, Exit)
    assert (claim.job_id, end.outcome) == ("", Outcome.REVOKED)
    taken = tmp_path / "taken"
    assert RunFile.claim(taken, CLAIM) is not None
    assert not run_file.revoke(taken, RUN, 5.0)


# -- control files ----------------------------------------------------------------------------------------------------

CONTROL = Control(
    "exp", "t0", "trial0", "0_x=1", 3, {"x": (1, 2), "nan": 0.5}, {"bundles": []}, restore="/c", criteria={"loss": 1},
    metric="loss", export_formats=("model",), stop="enough", leave="pause", milestone=4.0, answered=3.0,
)  # fmt: skip


def test_a_control_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "control.json"
    assert control_file.read(path) is None
    assert control_file.read_orders(path) is None
    control_file.publish(path, CONTROL)
    assert control_file.read(path) == CONTROL
    assert path.parent.stat().st_mode & 0o777 == 0o700
    orders = control_file.read_orders(path)
    assert orders == control_file.TrialOrders(3, "enough", "pause", 4.0, 3.0)
    assert control_file.with_orders(replace(CONTROL, stop=None, leave=None), orders) == CONTROL


def test_a_control_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    for text in ("", "garbage", "[]", "{}", '{"config": {}}', '{"config": {"__pickle__": "AAAA"}}'):
        path.write_text(text)
        with pytest.raises(StorageError):
            control_file.read(path)
    for text in ("{}", "5"):
        path.write_text(text)
        with pytest.raises(StorageError):
            control_file.read_orders(path)
    control_file.publish(path, CONTROL)
    path.write_text(json.dumps({**json.loads(path.read_text()), "mood": "of a newer version"}))
    path.chmod(0o600)
    assert control_file.read(path) == CONTROL
    path.chmod(0o666)
    with pytest.raises(StorageError, match="another user may have written it"):
        control_file.read(path)


def test_a_control_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot create"):
        control_file.publish(tmp_path / "file" / "control.json", CONTROL)


# -- the inbox --------------------------------------------------------------------------------------------------------


def test_commands_are_read_once_and_by_every_new_reader(paths: ExperimentPaths) -> None:
    early = Inbox(paths)
    assert early.read() == []
    one = inbox.post(paths, "stop")
    two = inbox.post(paths, "stop", ["t0", "t1"])
    assert early.read() == [one, two]
    assert early.read() == []
    three = inbox.post(paths, "stop", ["t2"])
    assert early.read() == [three]
    assert Inbox(paths).read() == [one, two, three]


def test_a_torn_line_waits_until_it_is_complete_or_given_up(paths: ExperimentPaths) -> None:
    reader = Inbox(paths)
    one = inbox.post(paths, "stop")
    whole = paths.inbox.read_bytes()
    for cut in range(1, len(whole)):
        paths.inbox.write_bytes(whole + whole[:cut])
        reader = Inbox(paths)
        assert reader.read() == [one]
        two = inbox.post(paths, "stop", ["t1"])
        seen = reader.read()
        assert seen[-1] == two
        assert seen[:-1] in ([], [one]), "nothing but the line that lacked only its end"
    for garbage in (b"5\n", b"[]\n", b'{"id": "x"}\n', b"null\n", b"\xff\xfe\n"):
        paths.inbox.write_bytes(garbage + whole)
        assert Inbox(paths).read() == [one]


def test_many_processes_may_post_at_once(paths: ExperimentPaths) -> None:
    code = (
        "import sys; from pathlib import Path; from hpctune.storage import inbox\n"
        "from hpctune.storage.layout import ExperimentPaths\n"
        "for i in range(15):\n"
        "    inbox.post(ExperimentPaths(Path(sys.argv[1])), 'stop', [sys.argv[2], str(i), 'x' * 5000])\n"
    )
    posters = [subprocess.Popen([sys.executable, "-c", code, str(paths.root), str(n)]) for n in range(4)]
    reader, seen = Inbox(paths), list[inbox.Command]()
    while any(p.poll() is None for p in posters):
        seen += reader.read()
    seen += reader.read()
    assert [p.returncode for p in posters] == [0] * 4
    assert len({c.command_id for c in seen}) == len(seen) == 60
    for poster in range(4):
        assert [c.targets[1] for c in seen if c.targets[0] == str(poster)] == [str(i) for i in range(15)]


def test_an_inbox_that_refuses(paths: ExperimentPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: 3)
        with pytest.raises(StorageError, match=r"Cannot write .*No space left"):
            inbox.post(paths, "stop")
    paths.inbox.unlink()
    paths.inbox.mkdir()
    with pytest.raises(StorageError):
        Inbox(paths).read()
    with pytest.raises(StorageError):
        inbox.post(paths, "stop")


# -- the definition ---------------------------------------------------------------------------------------------------


def test_the_definition(paths: ExperimentPaths, tmp_path: Path) -> None:
    spec = ExperimentSpec(
        "abcde123", "exp", 5.0, "f", metric="loss", mode="min", criteria={"training_iteration": 3}, seed=2**40,
        checkpoint=CheckpointPolicy(keep=2, score_attribute="loss", score_order="min"), export_formats=("model",),
        cluster_options={"partition": "gpu"}, time_budget_s=1.5, max_failures=-1,
    )  # fmt: skip
    with pytest.raises(NotAnExperimentError, match="is not an experiment directory"):
        spec_file.read(paths)
    spec_file.write(paths, spec)
    assert spec_file.read(paths) == spec
    with pytest.raises(NotAnExperimentError, match="There is no directory"):
        spec_file.read(ExperimentPaths(tmp_path / "nowhere"))
    with pytest.raises(NotAnExperimentError):
        spec_file.read(ExperimentPaths(paths.spec))
    data = json.loads(paths.spec.read_text())
    paths.spec.write_text(json.dumps({**data, "mood": "unknown here"}))
    assert spec_file.read(paths) == spec
    paths.spec.write_text(json.dumps({**data, "version": 99}))
    with pytest.raises(UsageError, match="newer hpctune"):
        spec_file.read(paths)
    for text in ("", "garbage", "[]", "{}"):
        paths.spec.write_text(text)
        with pytest.raises(StorageError, match="Cannot read"):
            spec_file.read(paths)


def test_a_directory_of_experiments_is_not_one(tmp_path: Path) -> None:
    below = ExperimentPaths(tmp_path / "one")
    below.root.mkdir()
    spec_file.write(below, ExperimentSpec("abcde123", "one", 5.0, "f"))
    with pytest.raises(NotAnExperimentError, match="contains experiments: one"):
        spec_file.read(ExperimentPaths(tmp_path))
