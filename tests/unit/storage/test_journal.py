"""The journal on a disk where anything may be cut off at any byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from hpctune.errors import JournalError, LeaseLostError, StorageError
from hpctune.model import events as e
from hpctune.model.records import ErrorInfo
from hpctune.model.resources import Resources
from hpctune.storage import journal
from hpctune.storage.codec import disk_name
from hpctune.storage.journal import Journal
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.values import Sealed
from tests.journals.freeze import summary

JOURNALS = Path(__file__).parents[2] / "journals"


def fact(number: int) -> e.Recorded:
    return e.Recorded(float(number), e.BudgetUsed(float(number)))


def numbers(directory: Path) -> list[int]:
    return [int(r.at) for r in journal.read(directory)]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


def test_what_is_appended_is_read(writer: Journal) -> None:
    assert list(journal.read(writer.directory)) == []
    writer.append([[fact(1)], [fact(2)]])
    writer.append([])
    writer.append([[fact(3)]])
    assert numbers(writer.directory) == [1, 2, 3]
    writer.close()
    writer.close()
    assert list(journal.read(writer.directory / "nowhere")) == []


def test_only_lines_that_name_something(writer: Journal) -> None:
    ended = e.Recorded(2.0, e.TrialEnded("t_00002", e.Phase.ERROR, "x"))
    other = e.Recorded(3.0, e.TrialEnded("t_00003", e.Phase.ERROR, "x"))
    writer.append([[fact(1)], [fact(2), ended], [other]])
    assert [r.at for r in journal.read(writer.directory, naming="BudgetUsed")] == [1.0, 2.0, 2.0]
    assert [r.at for r in journal.read(writer.directory, naming="t_00003")] == [3.0]
    writer.path.write_bytes(writer.path.read_bytes().replace(b'"t_00003"', b'"t_0000\xff"'))
    assert len(list(journal.read(writer.directory, naming="t_00002"))) == 2, "what is not asked for is not read"


def test_a_torn_tail_at_every_byte(writer: Journal, tmp_path: Path) -> None:
    """A reader, and a next driver, take what is whole, wherever the file was cut."""
    ended = e.Recorded(2.0, e.TrialEnded("t", e.Phase.ERROR, "ü", ErrorInfo("E", "é\n")))
    writer.append([[fact(1)], [ended], [fact(3), ended, fact(4)]])
    data = writer.path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for cut in range(len(data) + 1):
        directory = tmp_path / f"cut{cut}"
        directory.mkdir()
        (directory / "000001.jsonl").write_bytes(data[:cut])
        whole = max(0, sum(end <= cut for end in ends) - 1)
        there = [[], [1], [1, 2], [1, 2, 3, 2, 4]][whole]  # facts that belong together are there together
        assert numbers(directory) == there
        successor = Journal(directory)
        successor.append([[fact(5)]])
        successor.close()
        assert numbers(directory) == [*there, 5]


def test_a_torn_header_at_every_byte_seals_nothing_and_loses_nothing(tmp_path: Path) -> None:
    first = Journal(tmp_path / "a")
    first.append([[fact(1)]])
    second = Journal(tmp_path / "a")
    header = second.path.read_bytes()
    second.close()
    for cut in range(len(header)):
        second.path.write_bytes(header[:cut])
        assert numbers(tmp_path / "a") == [1], cut
        third = Journal(tmp_path / "a")
        third.append([[fact(3)]])
        first.append([[fact(99)]])  # a zombie
        assert numbers(tmp_path / "a") == [1, 3], cut
        third.close()
        third.path.unlink()
        os.truncate(first.path, first._end - len('{"at":99.0,"event":"BudgetUsed","seconds":99.0}\n'))
        first._end = first.path.stat().st_size
    first.close()


def test_what_a_zombie_writes_is_not_part_of_it(tmp_path: Path) -> None:
    zombie = Journal(tmp_path)
    zombie.append([[fact(1)]])
    successor = Journal(tmp_path)
    zombie.append([[fact(66)]])
    successor.append([[fact(2)]])
    assert numbers(tmp_path) == [1, 2]
    third = Journal(tmp_path)
    zombie.append([[fact(67)]])
    successor.append([[fact(68)]])
    third.append([[fact(3)]])
    assert numbers(tmp_path) == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"00000{i}.jsonl" for i in (1, 2, 3)]
    for one in (zombie, successor, third):
        one.close()


def test_a_zombie_with_a_torn_line_cannot_spoil_its_successor(tmp_path: Path) -> None:
    zombie = Journal(tmp_path)
    zombie.append([[fact(1)]])
    with zombie.path.open("ab") as file:
        file.write(b'{"at": 2.0, "ev')
    successor = Journal(tmp_path)
    with zombie.path.open("ab") as file:
        file.write(b'ent": "BudgetUsed", "seconds": 2}\ngarbage\n')
    successor.append([[fact(3)]])
    assert numbers(tmp_path) == [1, 3]
    zombie.close()
    successor.close()


def test_two_drivers_cannot_open_the_same_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal(tmp_path).close()
    monkeypatch.setattr(journal, "_segments", lambda directory: [])
    with pytest.raises(LeaseLostError, match="taken over"):
        Journal(tmp_path)


@pytest.mark.parametrize(
    "garbage",
    [
        "garbage", "5", "[]", "null", "{}", '{"at": 1.0}', '{"event": "BudgetUsed"}', '{"at":1,"event":["x"]}',
        '{"at": 1.0, "event": "JobEnded", "trial_id": "t", "attempt": 1, "state": "NEVER HEARD"}',
        '{"at": 1.0, "event": "RunStarted", "run": 5}', '{"at":1.0,"event":"TrialEnded","error":"x"}', "\0\0\0",
    ],
)  # fmt: skip
def test_garbage_in_the_middle_is_named_with_file_and_line(writer: Journal, garbage: str) -> None:
    writer.append([[fact(1)]])
    with writer.path.open("ab") as file:
        file.write(f"{garbage}\n".encode())
        file.write(b'{"at":2.0,"event":"BudgetUsed","seconds":2.0}\n')
    with pytest.raises(JournalError, match=r"000001\.jsonl, line 3"):
        numbers(writer.directory)


def test_an_event_of_a_newer_version_is_named_with_its_place(writer: Journal) -> None:
    with writer.path.open("ab") as file:
        file.write(b'{"at": 1.0, "event": "TrialCloned"}\n')
    with pytest.raises(JournalError, match=r"000001\.jsonl, line 2: .*'TrialCloned'.*newer hpctune"):
        numbers(writer.directory)


def test_a_header_that_cannot_be_read(writer: Journal) -> None:
    for header, words in [
        ("garbage", "is not the header"),
        ('{"segment":1,"version":9}', "newer hpctune"),
        ("[]", "is not the header"),
    ]:
        writer.path.write_text(f"{header}\n")
        for look in (numbers, Journal):
            with pytest.raises(JournalError, match=words):
                look(writer.directory)


def test_a_missing_segment_is_an_error(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        one = Journal(tmp_path)
        one.append([[fact(number)]])
        one.close()
    (tmp_path / "000002.jsonl").unlink()
    with pytest.raises(JournalError, match=r"000003\.jsonl follows segment 2, which is missing"):
        numbers(tmp_path)
    (tmp_path / "000003.jsonl").unlink()
    (tmp_path / "000001.jsonl").rename(tmp_path / "000002.jsonl")
    assert numbers(tmp_path) == [1]
    (tmp_path / "notes.txt").write_text("not ours")
    assert numbers(tmp_path) == [1]


def test_configs_of_somebody_else_stay_sealed(writer: Journal) -> None:
    added = e.TrialAdded("t", 0, "n", "d", "", {"x": (1, 2)}, {}, Resources())
    writer.append([[e.Recorded(1.0, added)]])
    assert [r.event for r in journal.read(writer.directory)] == [added]
    writer.path.chmod(0o666)
    sealed = r"line 2: a trial's config cannot be read: another user may have written it"
    with pytest.raises(JournalError, match=sealed):
        list(journal.read(writer.directory))
    (recorded,) = journal.read(writer.directory, sealed_ok=True)
    assert isinstance(recorded.event, e.TrialAdded)
    assert isinstance(recorded.event.config, Sealed)


# -- a disk that refuses --------------------------------------------------------------------------------------------


LIMITED = """
import json, resource, signal, sys
from pathlib import Path
from hpctune.errors import StorageError
from hpctune.model import events as e
from hpctune.storage.journal import Journal, read

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
one = Journal(Path(sys.argv[1]))
one.append([[e.Recorded(1.0, e.BudgetUsed(1.0))]])
room = one.path.stat().st_size + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
refused = 0
try:
    one.append([[e.Recorded(2.0, e.DriverStopped("x" * 200)), e.Recorded(3.0, e.BudgetUsed(3.0))]])
except StorageError as error:
    refused += "File too large" in str(error)
after = one.path.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
one.append([[e.Recorded(4.0, e.BudgetUsed(4.0))]])
one.close()
print(json.dumps([refused, after.decode()[-1], [int(r.at) for r in read(one.directory)]]))
"""


@pytest.mark.parametrize("room", [0, 1, 30, 250])
def test_a_full_disk_leaves_no_part_of_an_append(tmp_path: Path, room: int) -> None:
    arguments = [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path / "journal"), str(room)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, "\n", [1, 4]]


def test_even_what_cannot_be_cut_off_at_once_is_cut_off_before_the_next_append(
    writer: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite

    def half(fd: int, data: Any, offset: int) -> int:
        real(fd, bytes(data)[: len(data) // 2], offset)
        raise OSError(28, "No space left on device")

    def stuck(fd: int, length: int) -> None:
        raise OSError(5, "Input/output error")

    writer.append([[fact(1)]])
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", half)
        patch.setattr(os, "ftruncate", stuck)
        with pytest.raises(StorageError, match="No space left"):
            writer.append([[fact(2)]])
        patch.setattr(os, "pwrite", real)
        with pytest.raises(StorageError, match="Input/output"):
            writer.append([[fact(2)]])
    assert numbers(writer.directory) == [1]
    writer.append([[fact(2)], [fact(3)]])
    assert numbers(writer.directory) == [1, 2, 3]


def test_what_could_not_be_made_durable_is_written_again(writer: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(28, "No space left on device")

    writer.append([[fact(1)]])
    writer.sync()
    writer.append([[fact(2)]])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match="No space left"):
            writer.sync()
    with writer.path.open("r+b") as file:  # what a kernel does that drops pages it could not write
        file.seek(writer._durable)
        file.write(b"\0" * 9)
    writer.append([[fact(3)]])
    writer.sync()
    assert numbers(writer.directory) == [1, 2, 3]


def test_a_segment_that_cannot_be_begun_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        with pytest.raises(StorageError, match="No space left"):
            Journal(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot create"):
        Journal(tmp_path / "file" / "journal")


# -- journals of released versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", sorted(p.parent for p in JOURNALS.glob("*/experiment.json")), ids=lambda p: p.name)
def test_frozen_journals_keep_replaying(frozen: Path, tmp_path: Path) -> None:
    """Journals as earlier versions wrote them lead to the same states; see ``tests/journals/freeze.py``."""
    paths = ExperimentPaths(tmp_path / "experiment")
    shutil.copytree(frozen, paths.root)
    for path in paths.journal.iterdir():
        path.chmod(0o600)
    assert summary(paths) == json.loads((frozen / "expected.json").read_text())


def test_there_are_frozen_journals_with_every_event() -> None:
    lines = [line for path in JOURNALS.glob("*/journal/*.jsonl") for line in path.read_text().splitlines()]
    groups = [group if isinstance(group, list) else [group] for group in map(json.loads, lines)]
    kinds = {fact.get("event") for group in groups for fact in group}
    assert {disk_name(kind) for kind in get_args(e.Event)} <= kinds
