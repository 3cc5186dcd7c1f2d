"""A copy never takes the place of another experiment's, also where only the user's own means can read the place."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import hpctune as tune
from hpctune.cli.sync import command
from hpctune.errors import StorageError, TuneError, UsageError
from hpctune.mirror import status
from hpctune.mirror.manifest import NAME, Manifest
from hpctune.mirror.mirror import Mirror, check_unoccupied
from hpctune.mirror.occupant import occupant, occupant_soon
from hpctune.mirror.options import MirrorOptions
from hpctune.mirror.status import MirrorStatus
from hpctune.testing.simulated import Curve
from hpctune.testing.simulation import Simulation, hyperbola
from tests.unit.mirror.test_mirror import mirror_of, search


class Own:
    """Copies to ``mine://``, which nobody else can read."""

    def __init__(self, root: Path) -> None:
        self.root, self.down = root, list[Any]()

    def path(self, url: str) -> Path:
        return self.root / url.removeprefix("mine://")

    def sync_up(self, local_dir: str, remote_dir: str, exclude: Any = None) -> bool:
        shutil.copytree(local_dir, self.path(remote_dir), dirs_exist_ok=True)
        return True

    def sync_down(self, remote_dir: str, local_dir: str, exclude: Any = None) -> bool:
        self.down.append(exclude)
        shutil.copytree(self.path(remote_dir), local_dir, dirs_exist_ok=True)
        return True


def means_of(kind: str, root: Path) -> Any:
    there = f"{root}/mine/"
    return {
        "syncer": Own(root / "mine"),
        "template": f"s={{source}}; t={{target}}; t=$(echo $t | sed s#mine://#{there}#); mkdir -p $t && "
        f"cp -r $(echo $s | sed s#mine://#{there}#)/. $t",
    }[kind]


def id_at(path: Path) -> str:
    return Manifest.from_json((path / NAME).read_bytes()).experiment_id


@pytest.mark.parametrize("kind", ["syncer", "template"])
def test_own_means_do_not_overwrite_another_experiment(kind: str, tmp_path: Path) -> None:
    first, second = search(tmp_path / "a" / "exp"), search(tmp_path / "b" / "exp")
    first.run()
    second.run()
    options = MirrorOptions(place="mine://dir", means=means_of(kind, tmp_path))
    assert occupant(options, "mine://dir/exp") is None
    Mirror(first.paths, "first", options).sync()
    assert occupant(options, "mine://dir/exp") == "first"
    before = {path: path.read_bytes() for path in (tmp_path / "mine").rglob("*") if path.is_file()}
    with pytest.raises(StorageError, match=r"mine://dir/exp holds another experiment \(first\)"):
        Mirror(second.paths, "second", options).sync()
    assert {path: path.read_bytes() for path in (tmp_path / "mine").rglob("*") if path.is_file()} == before
    Mirror(first.paths, "first", options).sync()


def test_own_means_are_asked_once_and_without_checkpoints(tmp_path: Path) -> None:
    simulation, own = search(tmp_path / "exp"), Own(tmp_path / "mine")
    simulation.run()
    options = MirrorOptions(place="mine://dir", means=own)
    mirror = Mirror(simulation.paths, simulation.spec.experiment_id, options)
    mirror.sync()
    mirror.sync()
    assert own.down == [["*/checkpoint_*"]]
    status.write(simulation.paths, MirrorStatus(mirror.url, 1.0))
    Mirror(simulation.paths, simulation.spec.experiment_id, options).sync()
    assert len(own.down) == 1, "who has copied there before need not ask"


@pytest.mark.parametrize("kind", ["syncer", "template"])
def test_a_former_experiment_of_the_name_keeps_its_copy_under_its_new_name(kind: str, tmp_path: Path) -> None:
    first = search(tmp_path / "exp")
    first.run()
    options = MirrorOptions(place="mine://dir", means=means_of(kind, tmp_path))
    Mirror(first.paths, first.spec.experiment_id, options).sync()
    (tmp_path / "exp").rename(tmp_path / "exp_2026")
    second = Simulation(tmp_path / "exp", experiment_id="second", num_samples=1, curve=Curve(metrics=hyperbola))
    second.run()
    Mirror(second.paths, "second", options).sync()
    there = tmp_path / "mine" / "dir"
    assert (id_at(there / "exp"), id_at(there / "exp_2026")) == ("second", first.spec.experiment_id)


@pytest.mark.parametrize("target", ["/data/exp", "relative/exp"])
def test_a_command_that_may_name_the_machine_itself_is_not_turned_round(target: str, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    options = MirrorOptions(place="x", means=f"touch {touched}; rsync {{source}} login:{{target}}")
    assert occupant(options, target) is None
    assert not touched.exists()
    occupant(options, "login:/data/exp")
    assert touched.exists()


def test_a_place_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    done = threading.Event()

    class Slow(Own):
        def sync_down(self, remote_dir: str, local_dir: str, exclude: Any = None) -> bool:
            return done.wait(60)

    try:
        assert occupant_soon(MirrorOptions(place="mine://x", means=Slow(tmp_path)), "mine://x/exp", 0.1) is None
    finally:
        done.set()


def test_a_lost_directory_is_told_before_anything_is_made(tmp_path: Path) -> None:
    simulation = search(tmp_path / "lost" / "exp")
    simulation.run()
    mirror = mirror_of(simulation, tmp_path / "elsewhere")
    mirror.sync()

    def train(config: dict[str, Any]) -> None:
        raise AssertionError

    storage = tmp_path / "results"
    given: dict[str, Any] = {"name": "exp", "cluster": "local", "local_dir": storage, "verbose": 0}
    with pytest.raises(UsageError, match=rf"holds another experiment .* hpctune resume {mirror.url}, or resume='REMOT"):
        tune.run(train, upload_dir=f"file://{tmp_path}/elsewhere", **given)
    with pytest.raises(UsageError, match=rf"is itself the copy of an experiment.*: file://{tmp_path}/elsewhere"):
        tune.run(train, upload_dir=mirror.url, **given)
    assert not storage.exists() or list(storage.iterdir()) == []
    shutil.copytree(tmp_path / "lost" / "exp", storage / "exp")
    check_unoccupied(MirrorOptions(place=f"file://{tmp_path}/elsewhere"), storage / "exp")


def test_auto_goes_on_from_the_copy_if_the_directory_is_lost(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report({"a": config["x"]})

    given: dict[str, Any] = {
        "name": "exp", "cluster": "local", "local_dir": tmp_path / "here", "verbose": 0, "resume": "AUTO",
        "config": {"x": tune.grid_search([1, 2])}, "upload_dir": f"file://{tmp_path}/elsewhere",
    }  # fmt: skip
    first = tune.run(train, **given)
    assert len(first.trials) == 2, "nothing is there yet"
    shutil.rmtree(tmp_path / "here")
    again = tune.run(train, **given)
    assert [trial.trial_id for trial in again.trials] == [trial.trial_id for trial in first.trials]


def sync(*words: object, storage: Path, ok: bool = True) -> str:
    done = CliRunner().invoke(command, [*map(str, words)], env={"HPCTUNE_RESULT_DIR": str(storage)})
    text = done.output + (str(done.exception) if isinstance(done.exception, TuneError) else "")
    assert (done.exit_code == 0) is ok, text
    return text


def test_the_copy_itself_may_be_named(tmp_path: Path) -> None:
    one, two = search(tmp_path / "results" / "one"), Simulation(tmp_path / "results" / "two", experiment_id="second")
    one.run()
    two.run()
    place, storage = f"file://{tmp_path}/copies", tmp_path / "results"
    sync(one.paths.root, place, storage=storage)
    for words in ((f"{place}/one",), (one.paths.root, f"{place}/one"), (one.paths.root, tmp_path / "copies" / "one")):
        assert "copied 0 files" in sync(*words, storage=storage)
    assert "another experiment than" in sync(two.paths.root, f"{place}/one", storage=storage, ok=False)
    for path in list(one.paths.root.rglob("*")):
        if path.is_file():
            path.write_bytes(path.read_bytes())  # as if it had been brought from there
    assert "copied 0 files of 0 B" in sync(one.paths.root, place, storage=storage)
    one.paths.root.rename(storage / "one_2026")
    assert "copied 0 files" in sync(f"{place}/one/", storage=storage)
    (storage / "one_2026").rename(tmp_path / "away")
    assert "is the copy of an experiment that is not in" in sync(f"{place}/one", storage=storage, ok=False)
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == ["one"]
    assert not (tmp_path / "copies" / "one" / "one").exists()
