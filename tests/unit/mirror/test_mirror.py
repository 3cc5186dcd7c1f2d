"""The copy of an experiment elsewhere: always of one moment, whatever fails, and enough to go on from."""

from __future__ import annotations

import random
import shlex
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from hpctune.driver.engine import Driver
from hpctune.errors import NotAnExperimentError, StorageError, UsageError
from hpctune.mirror import files, status
from hpctune.mirror.fetch import fetch, readable, without_checkpoints
from hpctune.mirror.follower import MirrorFollower
from hpctune.mirror.manifest import NAME, Manifest
from hpctune.mirror.mirror import Mirror
from hpctune.mirror.options import MirrorOptions, as_text
from hpctune.mirror.target import Remote, check_place, filled_in, opened
from hpctune.model.spec import CheckpointPolicy
from hpctune.storage import checkpoints
from hpctune.storage.reader import read_experiment
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola


def search(root: Path) -> Simulation:
    """A search with checkpoints of which two are kept."""
    curve = Curve(metrics=hyperbola, iterations=6, checkpoint_every=1)
    return Simulation(root, num_samples=4, slots=2, curve=curve, checkpoint=CheckpointPolicy(keep=2))


def mirror_of(simulation: Simulation, place: Path | str, **options: Any) -> Mirror:
    url = place if isinstance(place, str) else f"file://{place}"
    return Mirror(simulation.paths, simulation.spec.experiment_id, MirrorOptions(place=url, **options))


def checked(url: str, directory: Path) -> None:
    """What is in the mirror is one moment: each checkpoint that its journal has and has not removed is there."""
    shutil.rmtree(directory, ignore_errors=True)
    fetch(url, directory)
    state = read_experiment(directory, peek=False).state
    for trial in state.trials.values():
        there = {path.name for path in (directory / trial.dirname).glob("checkpoint_*")}
        assert {ref.name for ref in trial.checkpoints} <= there


def test_a_pass_at_any_moment_of_a_search_is_one_moment(tmp_path: Path) -> None:
    simulation = search(tmp_path / "exp")
    mirror = mirror_of(simulation, tmp_path / "elsewhere")
    driver = simulation.driver()
    driver.start()
    copied = 0
    while not driver.finished:
        simulation.clock.sleep(max(driver.step(), 20.0))
        mirror.sync()
        copied += mirror.progress.files
        checked(mirror.url, tmp_path / "there")
    driver.leave("finished")
    mirror.sync()
    checked(mirror.url, tmp_path / "there")
    here, there = (read_experiment(path).state for path in (tmp_path / "exp", tmp_path / "there"))
    assert here.trials == there.trials
    there_now = {
        str(p.relative_to(tmp_path / "elsewhere" / "exp")) for p in (tmp_path / "elsewhere").rglob("*") if p.is_file()
    }
    assert there_now == {*Manifest.from_json((tmp_path / "elsewhere" / "exp" / NAME).read_bytes()).files, NAME}
    mirror.sync()
    assert mirror.progress.files == 0, "nothing has changed, nothing is copied"
    assert copied > 0


@pytest.mark.parametrize("here", [True, False], ids=["driver in this process", "driver in another"])
def test_checkpoints_that_are_deleted_while_they_are_copied(
    here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation, rng = search(tmp_path / "exp"), random.Random(1)
    driver = simulation.driver()
    driver.start()

    at_a_time = threading.Lock()  # files are put side by side

    def turn() -> None:
        with at_a_time:
            if not driver.finished:
                simulation.clock.sleep(max(driver.step(), 20.0))

    def meanwhile(function: Callable[..., Any], chance: float) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            if rng.random() < chance:
                turn()
            return function(*args)

        return called

    monkeypatch.setattr(Remote, "put", meanwhile(Remote.put, 0.3 if here else 0.02))
    if not here:
        monkeypatch.setattr(files, "_entries", meanwhile(files._entries, 0.02))
    options = MirrorOptions(place=f"file://{tmp_path / 'elsewhere'}")
    guard = driver.copy_guard if here else None
    mirror = Mirror(simulation.paths, simulation.spec.experiment_id, options, guard)
    while not driver.finished:
        turn()
        mirror.sync()
        checked(mirror.url, tmp_path / "there")
    only_the_last_two(simulation, driver)


def test_files_are_listed_while_a_checkpoint_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = search(tmp_path / "exp")
    driver = simulation.driver()
    options = MirrorOptions(place=f"file://{tmp_path / 'elsewhere'}")
    mirror = Mirror(simulation.paths, simulation.spec.experiment_id, options, driver.copy_guard)
    passes, delete = list[threading.Thread](), checkpoints.delete

    def delete_and_copy(checkpoint: Path) -> None:
        """Begin to copy before the journal says that it was deleted."""
        delete(checkpoint)
        if not passes:
            passes.append(threading.Thread(target=mirror.sync))
            passes[0].start()
            passes[0].join(0.05)

    monkeypatch.setattr(checkpoints, "delete", delete_and_copy)
    driver.start()
    copied = 0
    while not driver.finished:
        simulation.clock.sleep(max(driver.step(), 20.0))
        if passes:
            passes.pop().join()
            copied += 1
            checked(mirror.url, tmp_path / "there")
    assert copied > 3
    only_the_last_two(simulation, driver)


def only_the_last_two(simulation: Simulation, driver: Driver) -> None:
    driver.leave("finished")
    for trial in driver.state.trials.values():
        left = list((simulation.paths.root / trial.dirname).glob("checkpoint_*"))
        assert len(left) == 2, "what was kept for the copy is deleted in the end"


def test_a_search_goes_on_from_the_mirror_alone(tmp_path: Path) -> None:
    simulation = search(tmp_path / "exp")
    driver = simulation.driver()
    driver.start()
    for _ in range(12):
        simulation.clock.sleep(max(driver.step(), 20.0))
    mirror = mirror_of(simulation, tmp_path / "elsewhere")
    mirror.sync()
    before = sum(trial.results for trial in read_experiment(tmp_path / "exp", peek=False).state.trials.values())
    assert before > 0
    other = search(tmp_path / "other" / "exp")
    shutil.rmtree(tmp_path / "other" / "exp")
    fetch(mirror.url, tmp_path / "other" / "exp")
    state = other.run()
    assert len(state.trials) == 4
    assert all(trial.results == 6 for trial in state.trials.values())


class Unreliable(Remote):
    """Fails at random, before or after it has written, also halfway."""

    rng = random.Random(7)

    def put(self, path: str, name: str, size: int) -> None:
        roll = self.rng.random()
        if roll < 0.1:
            raise StorageError("no route to host")
        if roll < 0.2:
            (Path(self.root) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(self.root) / name).write_bytes(b"half")
            raise StorageError("connection reset")
        super().put(path, name, size)
        if roll < 0.3:
            raise StorageError("timed out")

    def write(self, name: str, text: str) -> None:
        if self.rng.random() < 0.2:
            raise StorageError("slow down")
        super().write(name, text)


def test_a_place_that_fails_at_random_never_holds_half_of_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = search(tmp_path / "exp")
    mirror = mirror_of(simulation, tmp_path / "elsewhere")
    monkeypatch.setattr("hpctune.mirror.mirror.Remote", Unreliable)
    driver = simulation.driver()
    driver.start()
    outcomes = []
    while not driver.finished:
        simulation.clock.sleep(max(driver.step(), 20.0))
        try:
            mirror.sync()
            outcomes.append(True)
        except StorageError:
            outcomes.append(False)
        if (tmp_path / "elsewhere" / "exp" / NAME).exists():
            with_patience(lambda: checked(mirror.url, tmp_path / "there"), monkeypatch)
    driver.leave("finished")
    assert False in outcomes
    for _ in range(200):
        try:
            mirror.sync()
            break
        except StorageError:
            continue
    checked(mirror.url, tmp_path / "there")
    assert read_experiment(tmp_path / "there").state.trials == read_experiment(tmp_path / "exp").state.trials


def with_patience(check: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader meets files that a dead pass has begun to replace: it says so, and shows nothing wrong."""
    with monkeypatch.context() as quick:
        quick.setattr("hpctune.mirror.fetch.PAUSE_S", 0.0)
        said = ""
        try:
            check()
        except StorageError as error:
            said = str(error)
        assert said == "" or "is not as the mirror's list says" in said


def test_what_was_copied_before_an_end_is_not_copied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = search(tmp_path / "exp")
    simulation.run()
    monkeypatch.setattr("hpctune.mirror.mirror.SAVE_EVERY", 1)
    monkeypatch.setattr("hpctune.mirror.mirror.AT_ONCE", 1)
    first = mirror_of(simulation, tmp_path / "elsewhere")
    put, done = Remote.put, []

    def failing(self: Remote, path: str, name: str, size: int) -> None:
        if len(done) >= 4:
            raise StorageError("the line is cut")
        put(self, path, name, size)
        done.append(name)

    monkeypatch.setattr(Remote, "put", failing)
    with pytest.raises(StorageError, match="cut"):
        first.sync()
    monkeypatch.setattr(Remote, "put", put)
    second = mirror_of(simulation, tmp_path / "elsewhere")
    there = second.sync()
    assert second.progress.of_files <= len(there.files) - 4
    checked(second.url, tmp_path / "there")


def test_files_that_grow_are_not_copied_again_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass comes only so far. That is enough, also where there is a complete copy of an earlier moment."""
    monkeypatch.setattr("hpctune.mirror.mirror.AT_ONCE", 1)
    simulation = search(tmp_path / "exp")
    state = simulation.run()
    outputs = [simulation.paths.root / trial.dirname / "stdout" for trial in state.trials.values()]
    for path in outputs:
        path.write_text("one\n")
    mirror = mirror_of(simulation, tmp_path / "elsewhere")
    mirror.sync()
    for path in outputs:
        path.write_text("one\ntwo\n")
    put, done = Remote.put, list[str]()

    def failing(self: Remote, path: str, name: str, size: int) -> None:
        if done and done[-1] != "cut":
            done.append("cut")
            raise StorageError("the line is cut")
        put(self, path, name, size)
        done.append(name)

    monkeypatch.setattr(Remote, "put", failing)
    for _ in outputs[1:]:
        with pytest.raises(StorageError, match="cut"):
            mirror.sync()
    there = mirror.sync()
    assert [name for name in done if name != "cut"] == [f"{path.parent.name}/stdout" for path in outputs]
    assert Manifest.from_json((tmp_path / "elsewhere" / "exp" / NAME).read_bytes()).files == there.files
    checked(mirror.url, tmp_path / "there")


def test_it_never_overwrites_another_experiment(tmp_path: Path) -> None:
    first, second = search(tmp_path / "a" / "exp"), search(tmp_path / "b" / "exp")
    first.run()
    second.run()
    mirror_of(first, tmp_path / "elsewhere").sync()
    other = Mirror(second.paths, "another", MirrorOptions(place=f"file://{tmp_path}/elsewhere"))
    with pytest.raises(StorageError, match="holds another experiment"):
        other.sync()


def test_means_of_ones_own(tmp_path: Path) -> None:
    simulation = search(tmp_path / "exp")
    simulation.run()
    calls = []

    def function(source: str, target: str) -> None:
        calls.append(target)
        shutil.copytree(source, target, dirs_exist_ok=True)

    class Own:
        def sync_up(self, source: str, target: str, exclude: Any = None) -> bool:
            function(source, target)
            return True

    template = "mkdir -p {target} && cp -r {source}/. {target} {options}"
    for number, means in enumerate((template, function, Own())):
        place = tmp_path / f"it's {number}"
        mirror = mirror_of(simulation, str(place), means=means)
        there = mirror.sync()
        assert (mirror.progress.files, mirror.progress.bytes) == (len(there.files), there.bytes)
        checked(f"file://{place}/exp", tmp_path / "there")
        mirror.sync()
    assert calls == [f"{tmp_path}/it's 1/exp"] * 2 + [f"{tmp_path}/it's 2/exp"] * 2
    with pytest.raises(StorageError, match="ended with code 3"):
        mirror_of(simulation, "x", means="echo {source} {target} >&2; exit 3").sync()

    def refuses(source: str, target: str) -> None:
        raise RuntimeError("full")

    with pytest.raises(StorageError, match="full"):
        mirror_of(simulation, "x", means=refuses).sync()


@pytest.mark.parametrize(
    ("template", "said"),
    [("rsync {source}", r"lacks \{target\}"), ("cp {target}", r"lacks \{source\}"), ("{source} {target} {x}", r"\{x\}"),
     ("{source", "cannot be read")],
)  # fmt: skip
def test_commands_are_checked_before_anything_runs(template: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        MirrorOptions(place="x", means=template)


def test_artifacts_and_what_belongs_to_this_machine(tmp_path: Path) -> None:
    simulation = search(tmp_path / "exp")
    state = simulation.run()
    trial = tmp_path / "exp" / next(iter(state.trials.values())).dirname
    (trial / "plots").mkdir(parents=True)
    (trial / "plots" / "a.png").write_text("picture")
    (trial / "weights.bin").write_text("w")
    (tmp_path / "exp" / "lease.json").touch()
    names = mirror_of(simulation, tmp_path / "without").sync().files
    assert not [name for name in names if name.endswith((".png", ".bin", "lease.json", ".lock"))]
    names = mirror_of(simulation, tmp_path / "with", artifacts=True).sync().files
    assert {Path(name).name for name in names} >= {"a.png", "weights.bin"}
    assert "lease.json" not in names


def test_reading_without_checkpoints_and_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("hpctune.mirror.fetch.PAUSE_S", 0.0)
    simulation = search(tmp_path / "exp")
    simulation.run()
    mirror = mirror_of(simulation, tmp_path / "elsewhere")
    with pytest.raises(NotAnExperimentError, match="is not an experiment"):
        readable(mirror.url)
    mirror.sync()
    paths = readable(mirror.url)
    assert read_experiment(paths.root).state.trials.keys() == read_experiment(tmp_path / "exp").state.trials.keys()
    assert not list(paths.root.glob("*/checkpoint_*"))
    journal = next((tmp_path / "elsewhere" / "exp" / "journal").iterdir())
    journal.write_bytes(journal.read_bytes().replace(b"loss", b"lass"))
    with pytest.raises(StorageError, match="is not as the mirror's list says"):
        fetch(mirror.url, tmp_path / "damaged", without_checkpoints)
    assert not (tmp_path / "damaged" / "experiment.json").exists()


def ended_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """One that is over; who fetches a copy of it does not wait long between two tries."""
    monkeypatch.setattr("hpctune.mirror.fetch.PAUSE_S", 0.01)
    simulation = search(tmp_path / "exp")
    simulation.run()
    return simulation


@pytest.mark.parametrize("name", ["pbt_policy_t_00000.txt", "TRIAL/stdout", "TRIAL/plots/losses.json", "note.txt"])
def test_a_pass_that_died_after_it_wrote_a_file_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = ended_search(tmp_path, monkeypatch)
    name = name.replace("TRIAL", next(iter(read_experiment(tmp_path / "exp").state.trials.values())).dirname)
    (tmp_path / "exp" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "exp" / name).write_text("as it was")
    mirror = mirror_of(simulation, tmp_path / "elsewhere", artifacts=True)
    mirror.sync()
    (tmp_path / "elsewhere" / "exp" / name).write_text("written again")
    checked(mirror.url, tmp_path / "there")
    assert (tmp_path / "there" / name).read_text() == "written again"


@pytest.mark.parametrize("damaged", ["driver.pkl", "journal", "checkpoint"])
def test_what_a_search_goes_on_from_must_be_as_the_list_says(
    damaged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation = ended_search(tmp_path, monkeypatch)
    (tmp_path / "exp" / "driver.pkl").write_bytes(b"x" * 10)
    mirror = mirror_of(simulation, tmp_path / "elsewhere")
    mirror.sync()
    place = tmp_path / "elsewhere" / "exp"
    found = {"journal": "journal/*", "checkpoint": "*/checkpoint_*/*"}.get(damaged, damaged)
    next(iter(sorted(place.glob(found)))).write_bytes(b"y" * 10)
    with pytest.raises(StorageError, match="not as the mirror's list says"):
        fetch(mirror.url, tmp_path / "there")


def test_a_follower_tells_how_far_it_is_behind_and_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    simulation = search(tmp_path / "exp")
    simulation.run()
    fails = threading.Event()
    fails.set()
    entered = threading.Event()

    def means(source: str, target: str) -> None:
        entered.set()
        if fails.is_set():
            raise RuntimeError("quota exceeded")

    caplog.set_level("INFO", "hpctune")
    mirror = mirror_of(simulation, "x://y", means=means, period_s=0.05)
    follower = MirrorFollower(mirror)
    assert entered.wait(20)
    while (told := status.read(simulation.paths)) is None or not told.error:
        pass
    assert "quota exceeded" in told.describe(told.since + 60)
    assert "nothing is there yet" in told.describe(0)
    fails.clear()
    follower.close()
    told = status.read(simulation.paths)
    assert told is not None
    assert (told.error, told.files > 0) == ("", True)
    assert "is behind" in caplog.text
    assert "complete again" in caplog.text
    assert not (tmp_path / "exp" / ".mirror").exists()


@pytest.mark.parametrize("means", ["auto", "cp -r {source} {target}"])
def test_an_experiment_is_never_copied_onto_itself(tmp_path: Path, means: str) -> None:
    simulation = search(tmp_path / "exp")
    simulation.run()
    before = {path: path.stat().st_ino for path in simulation.paths.root.rglob("*")}
    (tmp_path / "link").symlink_to(tmp_path)
    for place in (tmp_path, tmp_path / "link", tmp_path / "exp" / "inside"):
        with pytest.raises(StorageError, match="own directory"):
            mirror_of(simulation, place, means=means).sync()
        with pytest.raises(UsageError, match="where the experiment itself will be"):
            check_place(MirrorOptions(place=f"file://{place}", means=means), simulation.paths.root)
    assert {path: path.stat().st_ino for path in simulation.paths.root.rglob("*")} == before


def test_a_directory_in_which_an_experiment_was_driven_is_no_copy(tmp_path: Path) -> None:
    simulation = search(tmp_path / "exp")
    simulation.run()
    shutil.copytree(tmp_path / "exp", tmp_path / "elsewhere" / "exp")
    (tmp_path / "elsewhere" / "exp" / "lease.json").write_text("{}")
    with pytest.raises(StorageError, match="not a copy"):
        mirror_of(simulation, tmp_path / "elsewhere").sync()


class Store(LocalFileSystem):  # type: ignore[misc]
    """Local files that are told to be an object store, whose files have no directories of their own."""

    protocol = ("s3",)

    def __init__(self) -> None:
        super().__init__(auto_mkdir=True)


@pytest.mark.parametrize("kind", ["files", "store"])
def test_a_second_experiment_of_a_name_has_the_place_and_the_first_is_set_aside(tmp_path: Path, kind: str) -> None:
    filesystem = Store() if kind == "store" else None
    place = str(tmp_path / "elsewhere") if filesystem else f"file://{tmp_path}/elsewhere"
    first = search(tmp_path / "exp")
    first.run()
    kept = mirror_of(first, place, filesystem=filesystem).sync()
    (tmp_path / "exp").rename(tmp_path / "exp_2026")
    second = Simulation(tmp_path / "exp", experiment_id="second", num_samples=1, curve=Curve(metrics=hyperbola))
    second.run()
    options = MirrorOptions(place=place, filesystem=filesystem)
    there = Mirror(second.paths, "second", options).sync()
    assert there.experiment_id == "second"
    for url, manifest in ((f"{place}/exp", there), (f"{place}/exp_2026", kept)):
        found = fetch(url, tmp_path / "there" / url.rpartition("/")[2], filesystem=filesystem)
        assert (found.experiment_id, found.files) == (manifest.experiment_id, manifest.files)
    left = {str(path.relative_to(tmp_path / "elsewhere" / "exp")) for path in (tmp_path / "elsewhere").glob("exp/**/*")
            if path.is_file()}  # fmt: skip
    assert left == {*there.files, NAME}


def test_setting_aside_goes_on_after_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = search(tmp_path / "exp")
    first.run()
    kept = mirror_of(first, tmp_path / "elsewhere").sync()
    (tmp_path / "exp").rename(tmp_path / "exp_2026")
    second = Simulation(tmp_path / "exp", experiment_id="second", num_samples=1, curve=Curve(metrics=hyperbola))
    second.run()
    moved, real = [], Remote.move

    def move(self: Remote, name: str, there: Remote) -> None:
        if len(moved) == 3:
            raise StorageError("away")
        moved.append(name)
        real(self, name, there)

    monkeypatch.setattr(Remote, "move", move)
    options = MirrorOptions(place=f"file://{tmp_path}/elsewhere")
    with pytest.raises(StorageError, match="away"):
        Mirror(second.paths, "second", options).sync()
    monkeypatch.undo()
    Mirror(second.paths, "second", options).sync()
    assert fetch(f"file://{tmp_path}/elsewhere/exp_2026", tmp_path / "there").files == kept.files


@pytest.mark.parametrize(
    ("template", "command"),
    [
        ("cp {source} {target}", "cp '/a b' '/it'\"'\"'s'"),
        ("cp '{source}'/. \"{target}\"", "cp '/a b/.' '/it'\"'\"'s'"),
        ("cp '{source}/x y' pre\"fix {target}/\"", "cp '/a b/x y' \"prefix /it's/\""),
        ("echo \\' \"\\\"\" '\\' && cp {source} {target}{options}", "echo \\' '\"' '\\' && cp '/a b' \"/it's\""),
    ],
)
def test_fields_of_a_command_may_be_in_quotes(template: str, command: str) -> None:
    made = filled_in(template, source="/a b", target="/it's", options="")
    assert shlex.split(made) == shlex.split(command)


def test_a_double_colon_is_a_part_of_a_name() -> None:
    assert opened("file:///a::b/c::d#e")[1] == "/a::b/c::d#e"


@pytest.mark.parametrize(
    ("given", "text"),
    [(Path("s3://bucket/dir"), "s3://bucket/dir"), (Path("sftp://me@host/dir"), "sftp://me@host/dir"),
     (Path("file:///dir"), "file:///dir"), ("file:/dir", "file:///dir"), ("/a/b", "/a/b"), ("s3://b", "s3://b"),
     ("C:/dir", "C:/dir"), ("a/b:/c", "a/b:/c")],
)  # fmt: skip
def test_a_path_may_be_that_of_a_url(given: str | Path, text: str) -> None:
    assert as_text(given) == text
