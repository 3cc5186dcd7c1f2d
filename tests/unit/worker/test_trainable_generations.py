"""Class trainables of every generation, inherited, mixed, bound, and used without a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune.errors import CheckpointError, TrainableError
from hpctune.model.records import Outcome
from hpctune.utils import validate_save_restore
from hpctune.worker import session
from tests.support.worker_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


class OldBase(hpctune.Trainable):
    def _setup(self, config: dict[str, Any]) -> None:
        super()._setup(config)  # type: ignore[misc]
        self.count, self.calls = 0, ["base"]

    def _save(self, checkpoint_dir: str) -> Any:
        path = Path(checkpoint_dir, "count")
        path.write_text(str(self.count))
        return str(path)

    def _restore(self, checkpoint: str) -> None:
        self.count = int(Path(checkpoint).read_text())


class OldMiddle(OldBase):
    def _train(self) -> dict[str, Any]:
        self.count += 1
        return {"count": self.count, "seen": self._iteration, "calls": "".join(self.calls)}


class OldLeaf(OldMiddle):
    def _setup(self, config: dict[str, Any]) -> None:
        super()._setup(config)
        self.calls.append("leaf")

    def _train(self) -> dict[str, Any]:
        return {**super()._train(), "leaf": True}

    def _stop(self) -> None:
        Path(self.logdir, "stopped").touch()
        super()._stop()  # type: ignore[misc]


class TrainsOld:
    """A mixin that knows nothing of Trainable."""

    def _train(self) -> dict[str, Any]:
        return {"mixed": 1}


class Mixed(TrainsOld, hpctune.Trainable):
    pass


def test_the_names_of_old_work_through_several_classes(lab: Lab) -> None:
    lab.run(OldLeaf, criteria={"training_iteration": 3}, checkpoint_frequency=2)
    assert lab.column("count") == [1, 2, 3]
    assert lab.column("seen") == [0, 1, 2]
    assert lab.column("calls") == ["baseleaf"] * 3
    assert lab.column("leaf") == [True] * 3
    assert (lab.trial.root / "stopped").exists()
    saved = lab.trial.root / (lab.results()[1].checkpoint or "-")
    lab.run(OldLeaf, attempt=2, criteria={"training_iteration": 4}, restore=str(saved))
    assert (lab.column("count", 2), lab.column("seen", 2)) == ([3, 4], [2, 3])


def test_classes_that_cannot_be_imported_are_the_same(lab: Lab) -> None:
    class Here(OldMiddle):
        def _train(self) -> dict[str, Any]:
            return {**super()._train(), "here": True}

    class There(Here):
        pass

    lab.run(There, criteria={"training_iteration": 1}, checkpoint_at_end=True)
    assert lab.column("here") == [True]
    assert lab.exit().checkpoint is not None


def test_a_mixin_trains(lab: Lab) -> None:
    lab.run(Mixed, criteria={"training_iteration": 2})
    assert lab.column("mixed") == [1, 1]


def test_a_new_class_may_have_methods_of_any_name(lab: Lab) -> None:
    class Free(hpctune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self._iteration = "mine"
            self._save("x", 1)

        def step(self) -> dict[str, Any]:
            return {"own": self._iteration, "batch": self.train_step(3), "done": True}

        def train_step(self, batch: int) -> int:
            return batch

        def _save(self, path: str, number: int) -> None:
            pass

        def _stop(self, reason: str) -> None:
            raise AssertionError("not a hook")

        def can_save(self) -> None:
            raise AssertionError("not a hook")

        write_checkpoint = read_checkpoint = _stop

    end = lab.run(Free, checkpoint_at_end=True)
    assert end.outcome is Outcome.COMPLETED
    assert (lab.column("own"), lab.column("batch")) == (["mine"], [3])
    assert lab.results()[0].checkpoint is None


@pytest.mark.parametrize("cls", [OldLeaf, OldMiddle])
def test_parameters_reach_any_generation(lab: Lab, cls: type[hpctune.Trainable]) -> None:
    class Takes(cls):  # type: ignore[valid-type, misc]
        def _setup(self, config: dict[str, Any], data: Any = None, more: Any = None) -> None:
            super()._setup(config)
            self.data = (data, more)

        def _train(self) -> dict[str, Any]:
            return {"got": self.data, "done": True}

    bound = hpctune.with_resources(hpctune.with_parameters(Takes, data=[1]), {"cpu": 2})
    lab.run(hpctune.with_parameters(bound, more=[2]))
    assert lab.column("got") == [[[1], [2]]]


def test_setup_passes_on_to_a_base_that_takes_more(lab: Lab) -> None:
    class Base(hpctune.Trainable):
        def setup(self, config: dict[str, Any], data: Any = None) -> None:
            self.data = data

        def step(self) -> dict[str, Any]:
            return {"data": self.data, "done": True}

    class Derived(Base):
        def setup(self, config: dict[str, Any], **more: Any) -> None:
            super().setup(config, **more)

    lab.run(hpctune.with_parameters(Derived, data=5))
    assert lab.column("data") == [5]


def test_a_plain_class_is_refused() -> None:
    class Plain:
        pass

    for give in (lambda: hpctune.with_parameters(Plain, a=1), lambda: hpctune.register_trainable("plain", Plain)):
        with pytest.raises(TrainableError, match="not derived from"):
            give()


# -- its ends ----------------------------------------------------------------------------------------------------------


class Saves(hpctune.Trainable):
    broken = False

    def step(self) -> dict[str, Any]:
        return {"loss": 1}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        if self.broken:
            raise OSError("no room")
        return {"iteration": self.iteration}

    def load_checkpoint(self, checkpoint: Any) -> None:
        assert checkpoint["iteration"] == self.iteration


class Broken(Saves):
    broken = True


def test_a_last_checkpoint_that_fails_fails_a_finished_trial(lab: Lab) -> None:
    end = lab.run(Broken, criteria={"training_iteration": 2}, checkpoint_at_end=True)
    assert end.outcome is Outcome.FAILED
    assert end.error is not None
    assert end.error.message == "no room"
    assert not [p for p in lab.trial.root.iterdir() if p.is_dir()]


def test_a_pause_without_its_checkpoint_is_a_pause(lab: Lab, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setattr(session, "LOOK_S", 0.0)
    end = lab.run(Broken, leave="pause")
    assert (end.outcome, end.checkpoint) == (Outcome.PAUSED, None)
    assert "no room" in capfd.readouterr().err


def test_a_failing_cleanup_changes_nothing(lab: Lab, capfd: Any) -> None:
    class Untidy(Saves):
        def cleanup(self) -> None:
            raise RuntimeError("stuck")

    assert lab.run(Untidy, criteria={"training_iteration": 1}).outcome is Outcome.COMPLETED
    assert "stuck" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("attribute", "milestone", "saved_at"), [("time_total_s", 30, 3), ("timesteps_total", 20, 2), ("score", 4, 4)]
)
def test_a_class_saves_at_a_milestone_of_any_attribute(lab: Lab, attribute: str, milestone: int, saved_at: int) -> None:
    class Counts(Saves):
        def step(self) -> dict[str, Any]:
            return {"time_this_iter_s": 10, "timesteps_this_iter": 10, "score": self.iteration + 1}

    lab.run(Counts, criteria={"training_iteration": saved_at}, milestone=float(milestone), milestone_attr=attribute)
    assert [i for i, r in enumerate(lab.results(), 1) if r.checkpoint] == [saved_at]


# -- without a trial ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [OldLeaf, Saves])
def test_saving_and_restoring_is_validated(
    cls: type[hpctune.Trainable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert validate_save_restore(cls)


def test_a_class_runs_by_hand(tmp_path: Path) -> None:
    one = Saves({"lr": 1}, lambda config: None)  # with a logger creator, as of old
    assert [one.train()["training_iteration"] for _ in range(2)] == [1, 2]
    saved = one.save(str(tmp_path / "saved"))
    two = Saves(config={"lr": 1})
    two.restore(saved)
    assert two.get_state()["iteration"] == 2
    assert two.train()["training_iteration"] == 3


@pytest.mark.parametrize("returned", ["/etc", "..", "missing"])
def test_a_path_elsewhere_is_no_checkpoint(tmp_path: Path, returned: str) -> None:
    class Elsewhere(Saves):
        def save_checkpoint(self, checkpoint_dir: str) -> Any:
            return returned

    with pytest.raises(CheckpointError, match="which is not in"):
        Elsewhere().save(str(tmp_path))


class _Counts(hpctune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.n = 0

    def step(self) -> dict[str, Any]:
        self.n += 1
        return {"n": self.n}

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        path = Path(checkpoint_dir, "model")
        path.write_text(str(self.n))
        return {"dict": {"n": self.n}, "file": str(path), "folder": checkpoint_dir}.get(self.config["returns"])

    def load_checkpoint(self, checkpoint: Any) -> None:
        if isinstance(checkpoint, str):
            path = Path(checkpoint)
            checkpoint = {"n": int((path if path.is_file() else path / "model").read_text())}
        self.n = checkpoint["n"]


@pytest.mark.parametrize("returns", ["dict", "file", "folder", "nothing"])
def test_saved_outside_a_trial(returns: str, tmp_path: Path) -> None:
    one, config = _Counts({"returns": returns}), {"returns": returns}
    one.train()
    saved = one.save(str(tmp_path / "saved"))
    assert saved.value == str(tmp_path / "saved" / "model" if returns == "file" else tmp_path / "saved")
    for source in (saved, str(saved), saved.value, str(Path(saved, "model"))):
        again = _Counts(config)
        again.restore(source)
        assert (again.n, again.iteration) == (1, 1)
    moved = _Counts(config)
    moved.restore_from_object(one.save_to_object())
    assert (moved.n, moved.iteration) == (1, 1)
    if returns == "dict":
        assert saved.to_dict() == {"n": 1}


def test_a_logger_of_its_own(tmp_path: Path) -> None:
    from hpctune.logger import Logger

    heard: list[Any] = []

    class Hears(Logger):
        def on_result(self, result: dict[str, Any]) -> None:
            heard.append((self.logdir, result["n"], result["training_iteration"]))

        def close(self) -> None:
            heard.append("closed")

    one = _Counts({"returns": "dict"}, logger_creator=lambda config: Hears(config, str(tmp_path)))
    one.train()
    assert one.logdir == str(tmp_path)
    one.stop()
    assert heard == [(str(tmp_path), 1, 1), "closed"]
