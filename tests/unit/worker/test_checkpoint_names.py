"""What scripts of Ray Tune 1.x ask of a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpctune import Checkpoint
from hpctune.errors import CheckpointError


def test_where_it_is(tmp_path: Path) -> None:
    place = str(tmp_path / "0_lr=0.1")
    Path(place).mkdir()
    one = Checkpoint.from_directory(place)
    assert one.value == one.dir_or_data == one.local_path == str(one) == os.fspath(one) == place
    assert one + "/model.pt" == str(Path(one, "model.pt")) == f"{one}/model.pt" == place + "/model.pt"
    assert one.cloud_path is None
    assert one.get_internal_representation() == ("local_path", place)
    assert one.to_air_checkpoint() is one
    assert Checkpoint.from_uri(one.uri) == Checkpoint.from_uri(place) == Checkpoint.from_checkpoint(one) == one
    with pytest.raises(CheckpointError, match="There is no checkpoint directory"):
        Checkpoint.from_uri(f"file://{place}/none")


def test_the_same_checkpoint_keeps_its_directory() -> None:
    same = Checkpoint.from_checkpoint(Checkpoint.from_dict({"step": 3}))
    assert same.to_dict() == {"step": 3}
    place = same.path
    del same
    assert not Path(place).exists()


def test_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "file").write_text("text")
    again = Checkpoint.from_bytes(Checkpoint(tmp_path).to_bytes())
    assert Path(again.path, "deeper", "file").read_text() == "text"
    assert Checkpoint.from_bytes(Checkpoint.from_dict({"step": 3}).to_bytes()).to_dict() == {"step": 3}
    place = again.path
    del again
    assert not Path(place).exists(), "it goes with the object"
    with pytest.raises(CheckpointError, match=r"not those of Checkpoint.to_bytes\(\)"):
        Checkpoint.from_bytes(b"nothing")
