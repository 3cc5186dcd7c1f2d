"""Jobs that get and return their files by SFTP: the order of what becomes visible, claims, orders, and every loss."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpctune.errors import UsageError
from hpctune.file_transfer import ends
from hpctune.file_transfer.entry import draft_name
from hpctune.file_transfer.options import FileTransfer
from hpctune.file_transfer.outputs import RunFileCopy
from hpctune.file_transfer.place import Place
from hpctune.file_transfer.preflight import check_transfer
from hpctune.file_transfer.server import Server
from hpctune.model.ids import RunKey
from hpctune.model.records import Outcome
from hpctune.storage import permissions
from hpctune.storage.doorbell import Doorbell
from hpctune.storage.run_file import revoke
from tests.support.ssh_lab import NAME, Laptop, Proxy, Sshd, cluster_processes, key, wait_for
from tests.support.transfer_lab import TransferBench, Watcher, is_complete, saving


@pytest.fixture
def bench(tmp_path: Path, laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TransferBench]]:
    monkeypatch.chdir(tmp_path)  # else the modules of all tests that were collected go with the trainable
    made: list[TransferBench] = []

    def make(trainable: Any, config: dict[str, Any] | None = None, **control: Any) -> TransferBench:
        made.append(TransferBench(tmp_path / str(len(made)), laptop, trainable, config, **control))
        return made[-1]

    yield make
    for one in made:
        one.close()


def writes_of_its_own() -> Any:
    """A trainable that looks for what its directory has, and adds to it."""

    def train(config: dict[str, Any]) -> None:
        import json
        from pathlib import Path

        import hpctune

        found = sorted(str(path) for path in Path.cwd().glob("mine/*"))
        Path("mine").mkdir(exist_ok=True)
        Path("mine", f"{len(found)}.txt").write_text("mine")
        if not Path("newest").is_symlink():
            Path("newest").symlink_to("mine/0.txt")
        hpctune.report({"found": len(found), "here": str(Path.cwd())})
        Path(config["seen"]).write_text(json.dumps(found))

    return train


def test_everything_arrives_and_nothing_stays(bench: Callable[..., TransferBench], tmp_path: Path) -> None:
    one = bench(saving(), {})
    with Watcher(one.trial.root) as watcher:
        code, _ = one.run()
    assert code == 0, one.said()
    assert watcher.wrong == []
    assert [row.row["step"] for row in one.rows()] == [1, 2, 3, 4, 5, 6]
    assert one.exit().outcome is Outcome.COMPLETED
    saved = list(one.trial.root.glob("checkpoint_*"))
    assert [is_complete(path) for path in saved] == [True] * 6
    assert (one.trial.root / "stdout").read_text() == "".join(f"step {step}\n" for step in range(1, 7))
    assert list(one.node.iterdir()) == [], "nothing is left on the node"
    assert list(one.trial.root.glob(".*")) == [], "no draft is left on the driver's host"
    files = [path for path in one.trial.root.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o022 for path in files} == {0}, "others cannot write"
    own = [one.trial.root / name for name in ("stdout", "run-1.0.jsonl")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in own] == [0o600, 0o600]


@pytest.mark.nightly
def test_files_of_user_code_come_along(bench: Callable[..., TransferBench], tmp_path: Path) -> None:
    """What an attempt writes in its directory is there for the next one, on another node."""
    one = bench(writes_of_its_own(), {"seen": str(tmp_path / "seen")})
    assert one.run()[0] == 0, one.said()
    assert (one.trial.root / "mine" / "0.txt").read_text() == "mine"
    assert (one.trial.root / "newest").readlink() == Path("mine/0.txt")
    assert one.rows()[0].row["here"].startswith(str(one.node)), "user code runs in the directory of the node"
    one.publish(2)
    assert one.run(2)[0] == 0, one.said()
    assert [row.row["found"] for row in one.rows(2)] == [1]
    assert sorted(path.name for path in one.trial.root.glob("mine/*")) == ["0.txt", "1.txt"]


@pytest.mark.nightly
def test_a_checkpoint_that_is_saved_again_takes_the_place_of_the_first(
    bench: Callable[..., TransferBench], tmp_path: Path
) -> None:
    """What is saved after the last report has that report's iteration, and so its name."""

    def train(config: dict[str, Any]) -> None:
        import time
        from pathlib import Path

        import hpctune

        for text in ("first", "second"):
            with hpctune.checkpoint_dir(1) as directory:
                Path(directory, "text").write_text(text)
            if text == "first":
                hpctune.report({"x": 1})
                while not Path(config["arrived"]).exists():
                    time.sleep(0.05)

    arrived = tmp_path / "arrived"
    one = bench(train, {"arrived": str(arrived)})
    job = one.start()
    one.wait_for_rows(1)
    assert (one.trial.root / "checkpoint_000001" / "text").read_text() == "first"
    arrived.touch()
    assert job.wait(60) == 0, one.said()
    assert (one.exit().checkpoint, one.exit().outcome) == ("checkpoint_000001", Outcome.COMPLETED)
    assert (one.trial.root / "checkpoint_000001" / "text").read_text() == "second"
    assert list(one.trial.root.glob(".*")) == []


@pytest.mark.nightly
def test_a_group_may_read_what_arrives_in_a_shared_directory(bench: Callable[..., TransferBench]) -> None:
    one = bench(saving(steps=1))
    permissions.share(one.trial.root)
    assert one.run()[0] == 0, one.said()
    names = ["run-1.0.jsonl", "checkpoint_000001", "checkpoint_000001/sums.json", "checkpoint_000001/inner"]
    assert all((one.trial.root / name).stat().st_mode & stat.S_IRGRP for name in names)


@pytest.mark.nightly
def test_a_revoked_attempt_runs_no_user_code(bench: Callable[..., TransferBench], tmp_path: Path) -> None:
    """The claim is refused on the driver's host, where the key is taken after the job has copied its files."""
    one = bench(saving())
    assert revoke(one.trial.run(1, 0), RunKey("t_00000", 1, 0), time.time())
    before = (one.trial.root / "run-1.0.jsonl").read_bytes()
    code, _ = one.run()
    assert code == 0
    assert (one.trial.root / "run-1.0.jsonl").read_bytes() == before
    assert list(one.trial.root.glob("checkpoint_*")) == []
    assert "has been run already, or revoked" in (one.trial.root / "stdout").read_text()


def test_one_claim_holds_on_the_drivers_host(laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have claimed on their nodes. The first may ask again, as an answer may be lost; the other gets its claim."""
    monkeypatch.setenv("HOME", str(laptop.home))
    there = tmp_path / "experiment" / "trial"
    there.mkdir(parents=True)
    server, name = Server(NAME), "run-1.0.jsonl"
    claims, copies = [b'{"claim":"one"}\n', b'{"claim":"two"}\n'], []
    for number, claim in enumerate(claims):
        place = Place(str(there.parent), "trial", 1, "/dev/null", "/dev/null", tmp_path / str(number))
        place.paths.root.mkdir(parents=True)
        Path(place.paths.at(name)).write_bytes(claim)
        copies.append((place, RunFileCopy(server, place)))
    (first, one), (second, two) = copies
    try:
        assert [one.claim(name, claims[0]), two.claim(name, claims[1])] == [True, False]
        assert [one.claim(name, claims[0]), two.claim(name, claims[1])] == [True, False]
    finally:
        server.close()
    found = [path.read_bytes() for path in (there / name, first.paths.root / name, second.paths.root / name)]
    assert found == [claims[0]] * 3
    assert (one.claimed, two.claimed) == (True, False)
    assert [path.name for path in there.iterdir()] == [name]


def test_a_step_that_is_repeated_changes_nothing(
    laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the try before, all, a part or nothing may have arrived."""
    monkeypatch.setenv("HOME", str(laptop.home))
    server, here, there = Server(NAME), tmp_path / "one", tmp_path / "two"
    here.mkdir()
    data = os.urandom(700_000)
    (here / "file").write_bytes(data)
    (here / "inner").mkdir()
    (here / "inner" / "link").symlink_to("../file")
    try:
        for _ in range(2):
            server.write_at(str(tmp_path / "rows"), 3, b"abc", create=0o600)
        assert (tmp_path / "rows").read_bytes() == b"\0\0\0abc"
        for size in (0, 300_000, len(data), len(data) + 5):
            there.mkdir(exist_ok=True)
            (there / "file").write_bytes((data + b"longer")[:size])
            sent = server.moved
            server.put_tree(here, str(there), shared=False)
            assert (there / "file").read_bytes() == data
            assert server.moved - sent == (len(data) - size if size <= len(data) else len(data))
        assert (there / "inner" / "link").readlink() == Path("../file")
        entry, got = server.entry(str(there / "file")), tmp_path / "got"
        got.with_name(draft_name("got", entry)).write_bytes(data[:400_000])
        server.get(str(there / "file"), got, entry)
        assert got.read_bytes() == data
        server.get_directory(str(there), tmp_path / "three")
        assert (tmp_path / "three" / "inner" / "link").read_bytes() == data
        with pytest.raises(FileNotFoundError):
            server.write_at(str(tmp_path / "finalized"), 0, b"x")
        server.remove_tree(str(there))
        server.remove_tree(str(there))
        assert not there.exists()
    finally:
        server.close()


def test_of_two_jobs_one_runs(bench: Callable[..., TransferBench]) -> None:
    one = bench(saving())
    jobs = [one.start(), one.start()]
    assert [job.wait(60) for job in jobs] == [0, 0]
    assert [row.row["step"] for row in one.rows()] == [1, 2, 3, 4, 5, 6]
    assert len(list(one.trial.root.glob("run-*.jsonl"))) == 1
    assert "nothing to do" in (one.trial.root / "stdout").read_text()


@pytest.mark.parametrize("how", ["polls", pytest.param("doorbell", marks=pytest.mark.nightly)])
def test_orders_reach_the_run(bench: Callable[..., TransferBench], how: str) -> None:
    """It waits at a milestone for the driver's answer, goes on with it, and stops when it is told."""
    one = bench(saving(steps=10_000), milestone=2.0, decision_timeout_s=600.0)
    bell = Doorbell(one.paths.doorbell, everywhere=False)
    try:
        job = one.start(POLL_S="0.3" if how == "polls" else "600")
        one.wait_for_rows(2)
        one.wait_for(bell.heard)
        one.publish(milestone=4.0, answered=2.0)
        bell.answer()
        one.wait_for_rows(4)
        assert len(one.rows()) == 4, "it waits for the next answer"
        one.wait_for(bell.heard)
        one.publish(stop="enough", milestone=None)
        bell.answer()
        assert job.wait(60) == 0
    finally:
        bell.close()
    assert (one.exit().outcome, one.exit().reason) == (Outcome.STOPPED, "enough")


@pytest.mark.nightly
def test_a_run_whose_files_were_removed_leaves_no_trace(bench: Callable[..., TransferBench]) -> None:
    """The trial is over for the driver: a zombie's files do not come back."""
    one = bench(saving(steps=10_000))
    job = one.start()
    one.wait_for_rows(2)
    Path(one.trial.run(1, 0)).unlink()
    Path(one.trial.control).unlink()
    assert job.wait(60) == 0, one.said()
    assert not Path(one.trial.run(1, 0)).exists()


@pytest.mark.nightly
def test_a_restart_goes_on_from_the_last_checkpoint_that_arrived(bench: Callable[..., TransferBench]) -> None:
    """The job and its node are lost at once, and Slurm starts it again elsewhere."""
    one = bench(saving(steps=12, pause=0.1))
    with Watcher(one.trial.root) as watcher:
        lost = one.start()
        one.wait_for_rows(3)
        os.killpg(lost.pid, signal.SIGKILL)
        lost.wait()
        code, _ = one.run(RESTART="1")
    assert code == 0, one.said()
    assert watcher.wrong == []
    arrived = one.rows()[-1].row["step"]
    assert one.claim(restart=1).restored == f"checkpoint_{arrived:06d}"
    assert [row.row["step"] for row in one.rows(restart=1)] == list(range(arrived + 1, 13))
    assert one.exit(restart=1).outcome is Outcome.COMPLETED


@pytest.mark.nightly
def test_it_starts_from_another_trials_checkpoint(bench: Callable[..., TransferBench]) -> None:
    """As in population based training; the path in the control file is one of the driver's host."""
    one = bench(saving(steps=4))
    other = one.paths.root / "other" / "checkpoint_000003"
    other.mkdir(parents=True)
    (other / "sums.json").write_text('{"step": 3, "sums": {}}')
    one.publish(restore=str(other))
    assert one.run()[0] == 0, one.said()
    assert [row.row["step"] for row in one.rows()] == [4]
    outside = one.paths.root.parent / "elsewhere"
    other.rename(outside)
    one.publish(2, restore=str(outside))
    assert one.run(2)[0] == 0, one.said()
    assert [row.row["step"] for row in one.rows(2)] == [4]


@pytest.mark.nightly  # the worker waits for a minute
def test_a_missing_checkpoint_is_named(bench: Callable[..., TransferBench]) -> None:
    one = bench(saving(), restore="/nowhere/checkpoint_000001")
    assert one.start().wait(120) == 0
    assert "does not exist any more" in str(one.exit().error)


def test_cuts_at_any_byte_lose_and_double_nothing(bench: Callable[..., TransferBench], proxy: Proxy) -> None:
    one = bench(saving(steps=5))
    proxy.random.seed(3)
    proxy.between = (20_000, 250_000)
    with Watcher(one.trial.root) as watcher:
        code, _ = one.run()
    assert code == 0, one.said()
    assert proxy.cuts > 1
    assert watcher.wrong == []
    assert [row.row["step"] for row in one.rows()] == list(range(1, 6))
    assert [row.seq for row in one.rows()] == list(range(1, 6))
    assert one.exit().outcome is Outcome.COMPLETED
    said = (one.trial.root / "stdout").read_text()
    assert said == "".join(f"step {step}\n" for step in range(1, 6))


def reports_once() -> Any:
    """A trainable that says that it ran."""

    def train(config: dict[str, Any]) -> None:
        import os
        from pathlib import Path

        import hpctune

        with Path(config["diary"]).open("a") as diary:
            diary.write(f"{os.getpid()}\n")
        hpctune.report({"x": 1})

    return train


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("revoked", [False, True])
def test_a_claim_is_made_once_whatever_breaks(
    bench: Callable[..., TransferBench], proxy: Proxy, tmp_path: Path, revoked: bool
) -> None:
    """The answer to a claim may be lost, in either direction: user code runs once, or never if the driver was first."""
    proxy.between = (9_000, 30_000)
    for seed in range(6):
        proxy.random.seed(seed)
        diary = tmp_path / f"diary{seed}"
        one = bench(reports_once(), {"diary": str(diary)})
        if revoked:
            assert revoke(one.trial.run(1, 0), RunKey("t_00000", 1, 0), time.time())
        jobs = [one.start(), one.start()]
        assert [job.wait(400) for job in jobs] == [0, 0], one.said()
        lines = (one.trial.root / "run-1.0.jsonl").read_bytes().splitlines()
        assert len(lines) == (2 if revoked else 3), "a claim, a result, an exit record"
        assert len(diary.read_text().splitlines() if diary.exists() else []) == (0 if revoked else 1)
        assert one.exit().outcome is (Outcome.REVOKED if revoked else Outcome.COMPLETED)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(3))
def test_many_cuts_and_lost_jobs(bench: Callable[..., TransferBench], proxy: Proxy, seed: int) -> None:
    """A connection that never lasts, while the job is killed and started again."""
    proxy.random.seed(seed)
    proxy.between = (20_000, 400_000)
    one = bench(saving(blocks=6, steps=20, pause=0.05))
    with Watcher(one.trial.root) as watcher:
        for restart in range(5):
            job = one.start(RESTART=str(restart))
            before = len(one.rows(restart=restart))
            one.wait_for(lambda b=before, r=restart, j=job: len(one.rows(restart=r)) > b or j.poll() is not None)
            time.sleep(proxy.random.uniform(0, 1))
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        code, _ = one.run(RESTART="5")
    assert code == 0, one.said()
    assert watcher.wrong == []
    rows = [row for restart in range(6) for row in one.rows(restart=restart)]
    assert {row.row["step"] for row in rows} == set(range(1, 21))
    for restart in range(6):
        assert [row.seq for row in one.rows(restart=restart)] == list(range(1, len(one.rows(restart=restart)) + 1))


def take_away(sshd: Sshd) -> None:
    """The server, and the processes that serve open connections."""
    sshd.stop()
    for pid in cluster_processes(sshd.home):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.nightly
def test_a_host_that_is_away_for_a_while(bench: Callable[..., TransferBench], sshd: Sshd) -> None:
    """The trial trains on, and all of it arrives afterwards."""
    one = bench(saving(steps=30, pause=0.05))
    job = one.start()
    one.wait_for_rows(1)
    take_away(sshd)
    before = len(one.rows())
    here = next(one.node.iterdir()) / one.paths.root.name / "trial" / "run-1.0.jsonl"
    one.wait_for(lambda: here.exists() and here.read_bytes().count(b'"seq"') > before + 5)
    assert len(one.rows()) <= before + 1
    sshd.start()
    assert job.wait(60) == 0, one.said()
    assert [row.row["step"] for row in one.rows()] == list(range(1, 31))
    assert "files are copied again" in (one.trial.root / "stderr").read_text()


@pytest.mark.nightly
def test_a_frozen_connection_is_given_up_and_made_again(
    bench: Callable[..., TransferBench], proxy: Proxy, laptop: Laptop
) -> None:
    laptop.config.write_text(laptop.config.read_text() + "  ServerAliveInterval 1\n  ServerAliveCountMax 1\n")
    one = bench(saving(steps=20, pause=0.05))
    job = one.start()
    one.wait_for_rows(1)
    proxy.frozen.set()
    one.wait_for(lambda: "waiting, nothing is lost" in one.said())
    proxy.frozen.clear()
    assert job.wait(60) == 0, one.said()
    assert [row.row["step"] for row in one.rows()] == list(range(1, 21))


@pytest.mark.nightly
@pytest.mark.parametrize("pause", [0.02, 1000.0])
def test_a_host_that_never_comes_back(bench: Callable[..., TransferBench], sshd: Sshd, pause: float) -> None:
    """The worker is ended, and the exit code says that it was not the trial's fault; also if the trial says nothing
    meanwhile."""
    one = bench(saving(steps=10_000, pause=pause))
    job = one.start(HPCTUNE_STORAGE_PATIENCE_S="3", POLL_S="1")
    one.wait_for_rows(1)
    take_away(sshd)
    assert job.wait(60) == ends.UNREACHABLE, one.said()
    assert one.said().count("waiting, nothing is lost: ") <= 2, one.said()  # the first may be of a copy under way
    assert "from the last checkpoint that arrived" in one.said()
    assert not any(path.is_dir() for path in next(one.node.iterdir()).iterdir()), "no copies are left"
    with pytest.raises(ProcessLookupError):
        os.killpg(job.pid, 0)


@pytest.mark.nightly
def test_a_host_that_refuses(bench: Callable[..., TransferBench], sshd: Sshd, laptop: Laptop) -> None:
    one = bench(saving())
    laptop.known_hosts.write_text("")
    assert one.start(HPCTUNE_STORAGE_PATIENCE_S="0").wait(60) == ends.REFUSED
    assert "is not known: no key of" in one.said()
    laptop.knows(sshd)
    sshd.authorized.write_text("")
    assert one.start(HPCTUNE_STORAGE_PATIENCE_S="0").wait(60) == ends.REFUSED
    assert "does not let you in" in one.said()


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_warning_ends_the_run_and_its_last_checkpoint_arrives(
    bench: Callable[..., TransferBench], number: signal.Signals
) -> None:
    """To the job's process alone, as Slurm warns a batch script."""
    one = bench(saving(steps=10_000))
    job = one.start()
    one.wait_for_rows(2)
    os.kill(job.pid, number)
    assert job.wait(60) == 0, one.said()
    end, last = one.exit(), one.rows()[-1]
    assert (end.outcome, end.reason) == (Outcome.INTERRUPTED, "SIGUSR2 received")
    assert last.checkpoint is not None
    assert is_complete(one.trial.root / last.checkpoint)


def test_a_signal_to_all_processes_counts_once(bench: Callable[..., TransferBench]) -> None:
    """As Slurm ends a step: the worker gets SIGTERM from Slurm, and is not ended at once by a second one."""
    one = bench(saving(steps=10_000))
    job = one.start()
    one.wait_for_rows(2)
    os.killpg(job.pid, signal.SIGTERM)
    assert job.wait(60) == 0, one.said()
    assert one.exit().outcome is Outcome.INTERRUPTED
    assert one.exit().reason == "SIGTERM received"


@pytest.mark.nightly
def test_a_trial_that_fails(bench: Callable[..., TransferBench]) -> None:
    """The exit code and the error are the worker's."""

    def train(config: dict[str, Any]) -> None:
        import os
        import sys

        import hpctune

        hpctune.report({"x": 1})
        if config["how"] == "raise":
            raise ValueError("on purpose")
        sys.stdout.write("the last words\n")
        os.kill(os.getpid(), 9)

    one = bench(train, {"how": "raise"})
    assert one.run()[0] == 0
    assert str(one.exit().error) == "ValueError: on purpose"
    assert "on purpose" in (one.trial.root / "stderr").read_text()
    one = bench(train, {"how": "kill"})
    assert one.run()[0] == 137
    assert len(one.rows()) == 1
    assert (one.trial.root / "stdout").read_text() == "the last words\n"


@pytest.mark.nightly
def test_directories_of_killed_jobs_are_removed(bench: Callable[..., TransferBench]) -> None:
    one = bench(saving(steps=1))
    for name, age in (("old", 7200), ("new", 60)):
        (one.node / f"{ends.STAGE_PREFIX}{name}" / "experiment").mkdir(parents=True)
        os.utime(one.node / f"{ends.STAGE_PREFIX}{name}", (time.time() - age,) * 2)
    assert one.run()[0] == 0, one.said()
    assert [path.name for path in one.node.iterdir()] == [f"{ends.STAGE_PREFIX}new"]


def test_what_is_missing_is_told_before_anything_is_made(
    laptop: Laptop, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the user's ~/.ssh, and without the agent: a job has none."""
    monkeypatch.setenv("HOME", str(laptop.home))
    there = FileTransfer(host=NAME)
    check_transfer(there, tmp_path / "results" / "of a later search")
    laptop.known_hosts.write_text("")
    with pytest.raises(UsageError, match=r"is not known: no key of .* then accept it:\n  echo"):
        check_transfer(there, tmp_path)
    laptop.knows(sshd)
    locked = key(laptop.home / ".ssh" / "locked", passphrase="secret")
    sshd.authorized.write_text(locked.with_suffix(".pub").read_text())
    laptop.config.write_text(f"{laptop.config.read_text()}  IdentityFile {locked}\n")
    with agent(locked, "secret", monkeypatch), pytest.raises(UsageError, match="a private key without a passphrase"):
        check_transfer(there, tmp_path)
    laptop.config.write_text(laptop.config.read_text().replace(str(locked), str(laptop.identity)))
    with pytest.raises(UsageError, match="does not let you in: it accepts none of your keys"):
        check_transfer(there, tmp_path)
    laptop.may_enter(sshd)
    check_transfer(there, tmp_path)
    with pytest.raises(UsageError, match=r"has no directory .*, so it is not the host that has the experiment"):
        check_transfer(there, Path(f"/proc/self/task/{os.getpid()}"))
    sshd.stop()
    with pytest.raises(UsageError, match="cannot be reached"):
        check_transfer(there, tmp_path)


@contextlib.contextmanager
def agent(locked: Path, passphrase: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent that has a key."""
    socket = locked.with_name("agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        wait_for(socket.exists, what="the agent")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        answer = locked.with_name("answer")
        answer.write_text(f"#!/bin/sh\necho {passphrase}\n")
        answer.chmod(0o700)
        asking = {"SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
        subprocess.run(["ssh-add", "-q", locked], env=os.environ | asking, check=True, stdin=subprocess.DEVNULL)
        yield
    finally:
        process.terminate()
        process.wait()
