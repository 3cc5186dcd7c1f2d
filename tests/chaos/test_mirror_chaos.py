"""A copy whose place fails at random, with a driver that is killed: the search does not notice, and a second cluster
goes on from the copy alone. Judged by an independent checker."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpctune.storage.layout import ExperimentPaths
from tests.chaos.test_checker import chaos
from tests.support.failing_places import DirectoryPlace, Disturber, Place, S3Place, SftpPlace
from tests.support.ssh_lab import wait_for

CHECKER = Path(__file__).resolve().parents[2] / "scripts" / "check_experiment.py"
STEPS, HELD_AT = 24, 16
PLACES: dict[str, Callable[[Path], Place]] = {
    "s3": lambda _: S3Place(), "directory": lambda path: DirectoryPlace(path / "place"), "sftp": SftpPlace,
}  # fmt: skip


class Site:
    """A cluster: a HOME, a storage path, and drivers of the search on it."""

    def __init__(self, root: Path, place: Place) -> None:
        root.mkdir()
        self.home, self.results, self.work = root / "home", root / "results", root / "work"
        own = place.env(self.home)
        for directory in (self.home, self.results, self.work):
            directory.mkdir(exist_ok=True)
        foreign = ("SLURM", "SBATCH_", "TUNE_", "HPCTUNE_", "AWS_", "XDG_", "SSH_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.env = {**env, "HOME": str(self.home), "HPCTUNE_RESULT_DIR": str(self.results), **own}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.work / "log"

    @property
    def experiment(self) -> Path:
        return self.results / "exp"

    def start(self, *command: str | Path) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*map(str, command)], stdout=log, stderr=log, env=self.env, cwd=self.work, stdin=subprocess.DEVNULL
            )

    def kill(self) -> None:
        """Kill the driver."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Kill everything that belongs to it."""
        if self.process is not None:
            self.kill()
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"HOME={self.home}".encode() in entry.read_bytes().split(b"\0"):
                    os.kill(int(entry.parent.name), signal.SIGKILL)

    def call(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "hpctune.cli.main", *map(str, words)]
        return subprocess.run(
            command, env=self.env, cwd=self.work, capture_output=True, text=True, timeout=120, check=False
        )

    def journal(self) -> bytes:
        with contextlib.suppress(OSError):
            return b"".join(path.read_bytes() for path in self.experiment.glob("journal/*.jsonl"))
        return b""

    def has_come(self, results: float) -> bool:
        """Whether there are so many results, or a trial waits at the place where they stop. (A trial that goes on from
        the checkpoint of a better one leaves results out.)"""
        journal = self.journal()
        furthest = max(map(int, re.findall(rb'"training_iteration":(\d+)', journal)), default=0)
        return journal.count(b'"ResultReported"') >= results or furthest >= HELD_AT


def search(place: Place, audit: Path, trials: int, pause_s: float) -> str:
    audit.mkdir()
    """The search of scripts/chaos.py. Its trials stop in the middle until there is a file ``go``."""
    text: str = chaos.search_script("pbt", audit, trials, pause_s, "'local'")
    hold = f"while step > {HELD_AT} and not os.path.exists({str(audit.with_name('go'))!r}): time.sleep(0.05)"
    text = text.replace(f"time.sleep({pause_s})", f"time.sleep({pause_s})\n        {hold}")
    sync = f"common['sync_config'] = tune.SyncConfig(upload_dir={place.url!r}, sync_period=0.3, sync_timeout=3)\n"
    sync += "import hpctune.mirror.follower\nhpctune.mirror.follower.RETRY_S = (0.3, 1.0)  # so that a test is short\n"
    before, line, after = text.partition("from hpctune.schedulers")
    return before + sync + line + after


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[str, Place], Site]]:
    made: list[Site] = []

    def make(name: str, place: Place) -> Site:
        made.append(Site(tmp_path / name, place))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.mark.parametrize(
    "kind", ["directory", *(pytest.param(kind, marks=pytest.mark.nightly) for kind in ("s3", "sftp"))]
)
def test_a_place_that_fails_at_random(kind: str, tmp_path: Path, site: Callable[[str, Place], Site]) -> None:
    go_through(kind, tmp_path, site, seed=1, trials=2, pause_s=0.05, kills=1)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.parametrize("kind", PLACES)
def test_a_place_that_fails_for_long(kind: str, seed: int, tmp_path: Path, site: Callable[[str, Place], Site]) -> None:
    go_through(kind, tmp_path, site, seed=seed, trials=6, pause_s=0.4, kills=4)


def go_through(
    kind: str, tmp_path: Path, site: Callable[[str, Place], Site], *, seed: int, trials: int, pause_s: float, kills: int
) -> None:
    """A first cluster with a place that fails and a driver that is killed, which is lost; and a second one."""
    if kind == "s3":
        pytest.importorskip("moto.server")
    rng, audit = random.Random(seed), tmp_path / "audit"
    place = PLACES[kind](tmp_path)
    with contextlib.closing(place):
        first, second = site("first", place), site("second", place)
        script = first.work / "search.py"
        script.write_text(search(place, audit, trials, pause_s))
        disturber = Disturber(place, seed)
        total = trials * HELD_AT
        for killed in range(1, kills + 1):
            first.start(sys.executable, script)
            goal = total * (killed - rng.random() / 2) / (kills + 1)
            wait_for(lambda goal=goal: first.has_come(goal), 120, f"{goal} results: {first.log.read_text()}")  # type: ignore[misc]
            first.kill()
        started = time.time()
        first.start(sys.executable, script)
        paths = ExperimentPaths(first.experiment)
        wait_for(lambda: place.holds_since(started, paths), 240, "a whole pass")
        first.end()
        assert disturber.happened
        disturber.stop()
        lost = first.experiment.rename(tmp_path / "lost")

        fetched = second.call("fetch", f"{place.url}/exp", tmp_path / "copy")
        assert fetched.returncode == 0, fetched.stderr
        compare(tmp_path / "copy", lost)
        audit.with_name("go").touch()
        second.start(sys.executable, "-m", "hpctune.cli.main", "resume", f"{place.url}/exp")
        wait_for(second.experiment.joinpath("lease.json").exists, 60, f"a driver: {second.log.read_text()}")
        disturber = Disturber(place, seed + 100)
        assert second.process is not None
        assert second.process.wait(300) == 0, second.log.read_text()
        disturber.stop()
        judge(second, audit, tmp_path)
        done = second.call("sync", "exp")
        assert done.returncode == 0, done.stderr
        assert second.call("fetch", f"{place.url}/exp", tmp_path / "last").returncode == 0
        compare(tmp_path / "last", second.experiment, whole=True)


def compare(copy: Path, original: Path, *, whole: bool = False) -> None:
    """What is in a copy was in the original. ``whole``: and nothing is missing. No code of hpctune is used."""
    copied = sorted(path.relative_to(copy) for path in copy.rglob("*") if path.is_file())
    journals = [name for name in copied if name.parts[0] == "journal"]
    assert journals
    for name in journals:
        content, now = (copy / name).read_bytes(), (original / name).read_bytes()
        assert content == now if whole else now.startswith(content), name
    saved: set[str] = set()
    for name in journals:
        for line in (copy / name).read_text().splitlines()[1:]:
            data = json.loads(line)
            for fact in data if isinstance(data, list) else [data]:
                trial = fact["run"][0] if "run" in fact else fact.get("trial_id")
                if fact.get("checkpoint"):
                    saved.add(f"{trial}/{fact['checkpoint'][0]}")
                if fact["event"] == "CheckpointDeleted":
                    saved.discard(f"{trial}/{fact['name']}")
    there = list(copy.glob("*/checkpoint_*"))
    assert len(there) >= len(saved) > 0, "each checkpoint that the journal has is there"
    for name in copied:
        if any(part.startswith("checkpoint_") for part in name.parts):
            assert not (original / name).exists() or (copy / name).read_bytes() == (original / name).read_bytes(), name
        if name.name == "result.json":
            rows, now = (path.read_text().splitlines() for path in (copy / name, original / name))
            assert rows == now if whole else set(rows) <= set(now), name


def judge(site: Site, audit: Path, tmp_path: Path) -> None:
    """The independent checker has no objection to what lies there."""
    listed = site.call("list", "exp", "--json")
    (tmp_path / "list.json").write_text(listed.stdout)
    command = [sys.executable, str(CHECKER), str(site.experiment), "--audit", str(audit), "--reused-ids"]
    command += ["--list", str(tmp_path / "list.json")]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.nightly
def test_a_place_that_never_answers_does_not_keep_a_search_from_its_end(
    tmp_path: Path, site: Callable[[str, Place], Site]
) -> None:
    pytest.importorskip("moto.server")
    place = S3Place()
    with contextlib.closing(place):
        place.fail("stall")
        first = site("first", place)
        (first.work / "search.py").write_text(search(place, tmp_path / "audit", 2, 0.02))
        (tmp_path / "go").touch()
        began = time.monotonic()
        first.start(sys.executable, first.work / "search.py")
        wait_for(lambda: first.has_come(1), 60, "a result")
        assert "nothing is there yet; copying for" in first.call("status", "exp").stdout
        assert first.process is not None
        assert first.process.wait(55) == 0, "a client of S3 waits 60 s for an answer, and then tries again"
        assert time.monotonic() - began < 60
        assert "is not complete" in first.log.read_text()
        judge(first, tmp_path / "audit", tmp_path)
