"""Reading an experiment while, and after, somebody else writes it; and never leaving a trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpctune.core.change import changed
from hpctune.core.resume import ResumeChoice
from hpctune.core.state import ExperimentState
from hpctune.driver.engine import Driver
from hpctune.errors import NotAnExperimentError
from hpctune.model.trial import Phase
from hpctune.storage import journal, reader
from hpctune.storage.follow import ExperimentFollower, fingerprint as fingerprint_of
from hpctune.storage.layout import ExperimentPaths
from hpctune.storage.reader import counted_rows, read_experiment
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    curve = Curve(metrics=hyperbola, iterations=8, checkpoint_every=2)
    return Simulation(tmp_path / "exp", num_samples=4, slots=4, curve=curve)


@pytest.fixture
def running(simulation: Simulation) -> Iterator[Driver]:
    """A driver with two results of each trial."""
    driver = simulation.driver()
    driver.start()
    while not all(t.results >= 2 for t in driver.state.trials.values()) or len(driver.state.trials) < 4:
        simulation.clock.sleep(driver.step())
    yield driver
    driver.leave("done")


def fingerprint(root: Path) -> dict[str, tuple[str, int, int]]:
    """Every file and directory: content, size and times."""
    found = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else str(sorted(path.iterdir()))
        found[str(path)] = (content, status.st_mtime_ns, status.st_mode)
    return found


def test_reading_changes_nothing(simulation: Simulation, running: Driver) -> None:
    before = fingerprint(simulation.paths.root)
    read_experiment(simulation.paths.root, with_rows=True)
    counted_rows(simulation.paths, list(running.state.trials))
    reader.open_experiment(simulation.paths.root)
    assert fingerprint(simulation.paths.root) == before


def test_a_read_only_tree_can_be_read(simulation: Simulation, running: Driver) -> None:
    for path in [simulation.paths.root, *simulation.paths.root.rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    assert len(read_experiment(simulation.paths.root, with_rows=True).rows) == 8
    for path in [simulation.paths.root, *simulation.paths.root.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)


def test_what_no_driver_has_read_yet_is_seen(simulation: Simulation, running: Driver) -> None:
    simulation.clock.sleep(3 * 60.0)
    peeked = read_experiment(simulation.paths.root, with_rows=True)
    assert {t.results for t in peeked.state.trials.values()} == {5}
    assert len(peeked.rows) == 20
    assert [c.iteration for c in peeked.state.trials["51a1a_00000"].checkpoints] == [2, 4]
    assert [r.checkpoint and r.checkpoint.iteration for r in peeked.rows if r.trial_id == "51a1a_00000"] == [
        None, 2, None, 4, None,
    ]  # fmt: skip
    journaled = read_experiment(simulation.paths.root, with_rows=True, peek=False)
    assert {t.results for t in journaled.state.trials.values()} == {2}
    assert len(journaled.rows) == 8
    simulation.clock.sleep(10 * 60.0)
    ended = read_experiment(simulation.paths.root)
    assert all(t.attempt is not None and t.attempt.over for t in ended.state.trials.values())
    assert ended.state.phases[Phase.TERMINATED] == 0, "a reader gives no verdicts"


def test_a_requeued_run_is_followed_to_its_successor(simulation: Simulation, running: Driver) -> None:
    simulation.cluster.requeue("1")
    simulation.clock.sleep(3 * 60.0)
    trial = read_experiment(simulation.paths.root).state.trials["51a1a_00000"]
    assert trial.attempt is not None
    assert (trial.attempt.restart, trial.results) == (1, 5)


def test_rows_from_before_a_restart_from_scratch_are_dropped(simulation: Simulation) -> None:
    broken = [True]
    simulation.cluster.curve = Curve(
        metrics=lambda c, i: {"loss": 100.0 if broken else 1.0}, iterations=8, fails_at=lambda c: 4 if broken else None
    )
    simulation.run()
    assert len(read_experiment(simulation.paths.root, with_rows=True).rows) == 12
    broken.clear()
    driver = simulation.driver()
    driver.start(ResumeChoice(errored="restart"))
    while not driver.finished:
        simulation.clock.sleep(driver.step())
    driver.leave("finished")
    view = read_experiment(simulation.paths.root, with_rows=True)
    assert [r.row["loss"] for r in view.rows] == [1.0] * 32
    rows = counted_rows(simulation.paths, ["51a1a_00001"])
    assert [r.row["training_iteration"] for r in rows["51a1a_00001"]] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {r.row["loss"] for r in rows["51a1a_00001"]} == {1.0}


def test_what_is_read_is_what_the_driver_knows(simulation: Simulation, running: Driver) -> None:
    read = read_experiment(simulation.paths.root, peek=False).state
    assert read.trials == running.state.trials
    assert changed(read.trials["51a1a_00000"], results=0) != running.state.trials["51a1a_00000"]


def test_what_is_no_experiment(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotAnExperimentError):
            read_experiment(place)
        with pytest.raises(NotAnExperimentError):
            reader.open_experiment(place)


def test_an_experiment_that_was_only_just_made(simulation: Simulation) -> None:
    view = read_experiment(str(simulation.paths.root), with_rows=True)
    assert (view.state.trials, view.rows, view.paths) == ({}, [], ExperimentPaths(simulation.paths.root))


def same(followed: ExperimentFollower, simulation: Simulation) -> None:
    seen, whole = followed.view(), read_experiment(simulation.paths.root, with_rows=True)
    assert vars_of(seen.state) == vars_of(whole.state)
    assert seen.rows == whole.rows


def vars_of(state: ExperimentState) -> dict[str, object]:
    own = {name: value for name, value in vars(state).items() if name not in ("_packer", "held_time")}
    return own | {"held": vars(state.held_time)}


def test_a_follower_sees_what_a_new_reader_sees(simulation: Simulation) -> None:
    begun: list[list[object]] = []

    def begin() -> Callable[[object], object]:
        begun.append([])
        return begun[-1].append

    driver = simulation.driver()
    driver.start()
    followed = ExperimentFollower(simulation.paths.root, begin)
    for turn in range(12):
        simulation.clock.sleep(max(driver.step(), 20.0))
        same(followed, simulation)
        if turn == 6:
            driver.leave("another one goes on")
            simulation.clock.sleep(120.0)
            same(followed, simulation)  # results that no driver has read
            driver = simulation.driver()
            driver.start()
    driver.leave("done")
    same(followed, simulation)
    assert len(begun) == 1, "the journal was read once"
    assert begun[0] == list(journal.read(simulation.paths.journal))


def test_a_follower_begins_again_if_the_journal_is_another(simulation: Simulation, running: Driver) -> None:
    times: list[int] = []

    def begin() -> Callable[[object], object]:
        times.append(1)
        return lambda recorded: None

    followed = ExperimentFollower(simulation.paths.root, begin)
    followed.view()
    (segment,) = simulation.paths.journal.iterdir()
    content = segment.read_bytes()
    segment.write_bytes(content[: len(content) // 2])  # cut, as fsck does with damage
    same(followed, simulation)
    segment.write_bytes(content)
    same(followed, simulation)
    assert len(times) == 2
    simulation.paths.spec.touch()
    same(followed, simulation)
    assert len(times) == 3


def test_the_fingerprint_changes_with_journal_and_live_run_files(simulation: Simulation, running: Driver) -> None:
    paths = simulation.paths
    live = [trial.dirname for trial in running.state.active_trials()]
    before = fingerprint_of(paths, live)
    assert fingerprint_of(paths, live) == before
    simulation.clock.sleep(60.0)  # workers report, no driver looks
    assert fingerprint_of(paths, live) != before
    assert fingerprint_of(paths) == fingerprint_of(paths)
    journaled = fingerprint_of(paths)
    running.step()
    assert fingerprint_of(paths) != journaled
