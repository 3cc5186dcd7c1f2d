"""Pickles of dataclasses with slots: by name today, by position in the first version."""

from __future__ import annotations

import pickle

import pytest

from hpctune.cluster.options import LocalOptions, SlurmOptions
from hpctune.worker.command import Command

MADE = [
    SlurmOptions(partition="gpu", time="2h", workers=3, ntasks=2, env={"A": "1"}, doorbell=True),
    LocalOptions(cpus=3, gpus=["0", "1"], workers="auto", doorbell=False),
    Command("python -V {x}", env={"A": "1"}),
]


@pytest.mark.parametrize("value", MADE, ids=lambda value: type(value).__name__)
def test_a_copy_is_equal(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize("value", MADE[:2], ids=lambda value: type(value).__name__)
def test_an_old_pickle_is_read_by_its_own_order_and_new_fields_have_their_defaults(value: SlurmOptions) -> None:
    old = type(value).__new__(type(value))
    old.__setstate__([getattr(value, name) for name in value._POSITIONS])
    expected = {name: getattr(value, name) for name in value._POSITIONS}
    assert old == type(value)(**expected)


def test_an_old_command_has_no_start_directory() -> None:
    old = Command.__new__(Command)
    old.__setstate__(["run {x}", None, {}, None, None, "run"])
    assert (old.command, old.start_dir) == ("run {x}", "")
    assert old.arguments({"x": 1})[0] == ["/bin/sh", "-c", "run 1"]
