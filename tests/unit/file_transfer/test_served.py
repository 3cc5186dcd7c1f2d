"""The files of an experiment as its jobs on other machines see them: an SFTP client of paramiko, over a stream."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paramiko import SFTPClient

from hpctune.cluster.ssh.agent import Agent
from hpctune.file_transfer import served
from hpctune.file_transfer.job import TransferringJob
from hpctune.file_transfer.others import OwnFiles
from hpctune.file_transfer.place import Place
from hpctune.file_transfer.served import serve
from hpctune.file_transfer.server import Server
from hpctune.file_transfer.socket_connection import PREFIX
from hpctune.ssh.streams import Streams

REFUSED = OSError
"""What a client raises for what the server refuses."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "experiment"
    made.mkdir()
    (tmp_path / "secret").write_text("not for jobs")
    (tmp_path / "output").mkdir()
    return made


@contextlib.contextmanager
def connected(root: Path) -> Iterator[SFTPClient]:
    output = str(root.parent / "output" / "stdout")
    far = Streams(
        lambda data: near.feed(data), lambda stream: serve(stream, root, lambda: {output}), print, greeted=True
    )
    near = Streams(far.feed, print, print, greeted=True)
    channel: Any = near.open()
    yield SFTPClient(channel)
    channel.close()


@pytest.fixture
def client(root: Path) -> Iterator[SFTPClient]:
    with connected(root) as made:
        yield made


def test_files_are_read_and_written(client: SFTPClient, root: Path) -> None:
    data = os.urandom(300_000)
    with client.open(f"{root}/a", "wb") as file:
        file.write(data)
        file.chmod(0o640)
    assert (root / "a").read_bytes() == data
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o640
    with client.open(f"{root}/a", "r+b") as file:
        file.seek(5)
        file.write(b"hello")
        file.truncate(10)
    assert (root / "a").read_bytes() == data[:5] + b"hello"
    with client.open(f"{root}/a", "rb") as file:
        assert file.read() == data[:5] + b"hello"
        assert file.stat().st_size == 10
    assert [one.filename for one in client.listdir_attr(str(root))] == ["a"]


def test_a_file_needs_few_answers(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes as long as the way to the driver and back."""
    (tmp_path / "local").write_bytes(data := os.urandom(5_000_000))
    asked: list[int] = []
    ask = SFTPClient._async_request

    def counted(self: SFTPClient, kind: Any, number: int, *arguments: Any) -> Any:
        asked.append(number)
        return ask(self, kind, number, *arguments)

    monkeypatch.setattr(SFTPClient, "_async_request", counted)
    server = Server(f"{PREFIX}nowhere")
    with connected(root) as client:
        monkeypatch.setattr(server, "files", lambda: contextlib.nullcontext(client))
        server.put(tmp_path / "local", f"{root}/there", mode=0o600)
    assert (root / "there").read_bytes() == data
    assert len(asked) < 20


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[Server]:
    """As a job has it: behind the socket of the machine's agent."""
    agent = Agent(near := Streams(lambda data: far.feed(data), print, print, greeted=True))
    far = Streams(near.feed, lambda stream: serve(stream, root, set), print, greeted=True)
    agent._base = tmp_path
    agent._listen()
    made = Server(f"{PREFIX}{tmp_path / 'files'}")
    yield made
    made.close()
    agent.end()
    assert agent._listening is not None
    agent._listening.close()


def test_what_is_read_and_removed_at_once_was_written(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver removes a run file as soon as its exit record is there."""
    write = served._File.write

    def read_at_once(self: Any, offset: int, data: Any) -> int:
        done = write(self, offset, data)
        (root / "rows").unlink()
        return done

    monkeypatch.setattr(served._File, "write", read_at_once)
    server.write_at(f"{root}/rows", 0, b"the end", create=0o600)
    assert not (root / "rows").exists()


def test_a_job_whose_last_answer_was_lost_ends(
    server: Server, root: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit record arrived, and the driver has removed the run file."""
    local = place.paths.root / place.run_name(0)
    local.write_bytes(claim := b'{"claim":"one"}\n')
    job = TransferringJob(server, place, 0, 1.0, 5.0)
    assert job._run_file.claim(local.name, claim)
    write_at, calls = server.write_at, list[bytes]()

    def lost(path: str, offset: int, data: bytes, **more: Any) -> None:
        write_at(path, offset, data, **more)
        if not calls:
            Path(path).unlink()
        calls.append(data)
        raise ConnectionResetError

    monkeypatch.setattr(server, "write_at", lost)
    with local.open("ab") as file:
        file.write(b'{"exit":"completed"}\n')
    assert job._patiently(job._finish)
    assert calls == [b'{"exit":"completed"}\n']
    assert list((root / "trial").iterdir()) == []
    job._asking.close()
    job._asked.close()


def test_a_file_that_no_name_can_say_is_told_and_the_others_come(
    server: Server, root: Path, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    own = OwnFiles(server, place)
    for name in (b"bad\xff", b"good", "\u00fc b".encode()):
        Path(place.paths.root, os.fsdecode(name)).write_text("1")
    (place.paths.root / "link").symlink_to(os.fsdecode(b"\xff"))
    own.copy(to_the_end=True)
    own.copy(to_the_end=True)
    assert sorted(path.name for path in (root / "trial").iterdir()) == ["good", "\u00fc b"]
    assert sorted(record.message for record in caplog.records) == [
        rf"hpctune: '{name}' is not brought back: its name, or what the link says, is not UTF-8."
        for name in (r"bad\udcff", "link")
    ]


@pytest.fixture
def place(root: Path, tmp_path: Path) -> Place:
    """That of a trial whose directories are there, on both sides."""
    (root / "trial").mkdir()
    made = Place(str(root), "trial", 1, os.devnull, os.devnull, tmp_path / "here")
    made.paths.root.mkdir(parents=True)
    return made


def test_many_files_are_copied_side_by_side(server: Server, root: Path, tmp_path: Path) -> None:
    source, waited = tmp_path / "source", list[int]()
    for number in range(100):
        path = source / f"d{number % 3}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number))
    (source / "d0" / "f0").chmod(0o755)
    (source / "link").symlink_to("d1")
    server.meanwhile = lambda: waited.append(threading.active_count())
    server.put_tree(source, f"{root}/copy", shared=False)
    server.get_tree(f"{root}/copy", tmp_path / "back")
    for copy in (root / "copy", tmp_path / "back"):
        assert {path: (copy / path).read_bytes() for path in _below(copy)} == {
            path: (source / path).read_bytes() for path in _below(source)
        }
        assert (copy / "d0" / "f0").stat().st_mode & 0o777 == 0o755
        assert (copy / "link").readlink() == Path("d1")
    assert max(waited) > 3
    assert server.traffic.files == 200


def test_an_error_in_one_of_many_files_is_raised(server: Server, root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(50):
        (source / f"f{number}").write_text("1")
    (root / "copy" / "f30").mkdir(parents=True)
    with pytest.raises(OSError, match=r"Failure|directory"):
        server.put_tree(source, f"{root}/copy", shared=False)
    (root / "copy" / "f30").rmdir()
    server.put_tree(source, f"{root}/copy", shared=False)
    assert len(list((root / "copy").iterdir())) == 50


def _below(root: Path) -> set[Path]:
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file()}


def test_directories_links_and_names(client: SFTPClient, root: Path) -> None:
    client.mkdir(f"{root}/d", 0o700)
    client.chmod(f"{root}/d", 0o750)
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o750
    (root / "d" / "f").write_text("x")
    client.symlink("f", f"{root}/d/link")
    assert client.readlink(f"{root}/d/link") == "f"
    assert client.stat(f"{root}/d/link").st_size == 1
    assert stat.S_ISLNK(client.lstat(f"{root}/d/link").st_mode or 0)
    client.posix_rename(f"{root}/d", f"{root}/e")
    client.remove(f"{root}/e/link")
    client.remove(f"{root}/e/f")
    client.rmdir(f"{root}/e")
    assert list(root.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        client.stat(f"{root}/e")


def test_the_directory_may_be_named_through_links(root: Path) -> None:
    """Its path is that of the user: ``..`` behind a link leads elsewhere than the text says."""
    (root / "f").write_text("x")
    (root.parent / "other" / "deep").mkdir(parents=True)
    (root.parent / "other" / "link").symlink_to(root.parent / "output")
    named = root.parent / "other" / "link" / ".." / root.name
    with connected(named) as client:
        assert client.listdir(str(named)) == ["f"]
        assert client.stat(f"{named}/f").st_size == 1
        assert client.stat(f"{root}/f").st_size == 1
        with pytest.raises(REFUSED):
            client.stat(f"{named}/../secret")


def test_of_many_who_take_a_name_one_succeeds(root: Path) -> None:
    for number in range(8):
        (root / f"claim{number}").write_text(str(number))
    won: list[int] = []

    def take(number: int) -> None:
        with connected(root) as client, contextlib.suppress(OSError):
            client.rename(f"{root}/claim{number}", f"{root}/claimed")
            won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (root / "claimed").read_text() == str(won[0])
    assert not (root / f"claim{won[0]}").exists()
    assert len(list(root.iterdir())) == 8


@pytest.mark.parametrize("way", ["secret", "experiment/../secret", "experiment/out/secret", "experiment/to-secret"])
def test_nothing_outside_is_seen(client: SFTPClient, root: Path, way: str) -> None:
    (root / "out").symlink_to("..")
    (root / "to-secret").symlink_to("../secret")
    path = f"{root.parent}/{way}"
    with pytest.raises(REFUSED):
        client.open(path, "rb")
    with pytest.raises(REFUSED):
        client.stat(path)
    with pytest.raises(REFUSED):
        client.open(path, "wb")
    with pytest.raises(REFUSED):
        client.listdir_attr(str(root.parent))
    with pytest.raises(REFUSED):
        client.posix_rename(f"{root}/out", f"{root.parent}/stolen")
    assert (root.parent / "secret").read_text() == "not for jobs"


def test_the_output_of_a_job_may_be_elsewhere(client: SFTPClient, root: Path, tmp_path: Path) -> None:
    with client.open(f"{tmp_path}/output/stdout", "wb") as file:
        file.write(b"words")
    assert (tmp_path / "output" / "stdout").read_bytes() == b"words"
    assert client.stat(f"{tmp_path}/output").st_mode
    with pytest.raises(REFUSED):
        client.open(f"{tmp_path}/output/other", "wb")


def test_links_that_filesystems_lack_are_not_needed(
    client: SFTPClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    for number in (1, 2):
        (root / f"claim{number}").write_text(str(number))
    client.rename(f"{root}/claim1", f"{root}/claimed")
    with pytest.raises(REFUSED):
        client.rename(f"{root}/claim2", f"{root}/claimed")
    assert (root / "claimed").read_text() == "1"
