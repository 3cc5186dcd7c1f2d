"""Naming what cannot be pickled."""

from __future__ import annotations

import importlib
import re
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hpctune.errors import StorageError, TrainableError
from hpctune.storage import bundle
from hpctune.storage.layout import ExperimentPaths


def _closure(stuck: Any) -> Any:
    def train(config: Any) -> Any:
        return stuck

    return train


def _default(stuck: Any) -> Any:
    def train(config: Any, *, stuck: Any = stuck) -> Any:
        return stuck

    return train


def _attribute(value: Any) -> Any:
    class Model:
        def __init__(self) -> None:
            self.stuck = value

        def train(self, config: Any) -> None:
            pass

    return Model().train


def _argument(stuck: Any) -> Any:
    def train(config: Any, stuck: Any) -> None:
        pass

    return partial(train, stuck=stuck)


def _nested(stuck: Any) -> Any:
    def helper() -> Any:
        return stuck

    def train(config: Any) -> Any:
        return helper()

    return train


def _global(value: Any) -> Any:
    names: dict[str, Any] = {"stuck": value}
    exec("def train(config):\n    def inner():\n        return stuck\n    return inner()\n", names)
    return names["train"]


@pytest.mark.parametrize("make", [_closure, _default, _attribute, _argument, _nested, _global])
@pytest.mark.parametrize("what", ["lock", "file"])
def test_the_culprit_is_named(tmp_path: Path, make: Any, what: str) -> None:
    with (tmp_path / "open").open("w") as file:
        stuck: Any = file if what == "file" else threading.Lock()
        paths = ExperimentPaths(tmp_path)
        with pytest.raises(TrainableError, match=r"part that cannot be pickled is [\w.]*stuck = <") as caught:
            bundle.save(paths, make(stuck), None)
    assert ("open" if what == "file" else "lock") in str(caught.value)
    assert not Path(paths.trainable).exists()


def test_a_variable_without_a_value_is_no_trouble(tmp_path: Path) -> None:
    def train(config: Any) -> Any:
        return later, lock

    lock = threading.Lock()
    with pytest.raises(TrainableError, match="part that cannot be pickled is lock"):
        bundle.save(ExperimentPaths(tmp_path), train, None)
    later = 1


class Unloadable:
    """Its class says that it is made without arguments."""

    def __init__(self, needed: int) -> None:
        self.needed = needed

    def __reduce__(self) -> Any:
        return Unloadable, ()


@pytest.mark.parametrize("make", [_closure, _default, _attribute, _argument, _nested, _global])
def test_what_cannot_be_loaded_again_is_named_too(tmp_path: Path, make: Any) -> None:
    with pytest.raises(TrainableError, match=r"not loaded in a job: TypeError: .*needed") as caught:
        bundle.save(ExperimentPaths(tmp_path), make(Unloadable(1)), None)
    assert re.search(r"stuck = <|self = <", str(caught.value))


def test_what_can_be_loaded_only_in_another_process_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registry_of_models.py").write_text(
        "NAMES = set()\nclass Model:\n    def __init_subclass__(cls):\n        assert cls.__name__ not in NAMES\n"
        "        NAMES.add(cls.__name__)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = importlib.import_module("registry_of_models")

    class Mine(registry.Model):  # type: ignore[misc, name-defined]
        pass

    bundle.save(ExperimentPaths(tmp_path), lambda config: Mine, None)
    assert Path(ExperimentPaths(tmp_path).trainable).exists()


def test_a_file_swapped_for_somebody_elses_is_refused(tmp_path: Path) -> None:
    """The file that is read is the one that was looked at: a symlink to a file that others write counts as theirs."""
    paths = ExperimentPaths(tmp_path)
    bundle.save(paths, print, None)
    theirs = tmp_path / "theirs"
    theirs.write_bytes(Path(paths.trainable).read_bytes())
    theirs.chmod(0o666)
    Path(paths.trainable).unlink()
    Path(paths.trainable).symlink_to(theirs)
    for read in (bundle.load_trainable, bundle.original_cwd, bundle.prepare_imports):
        with pytest.raises(StorageError, match="can be written by others"):
            read(paths)
