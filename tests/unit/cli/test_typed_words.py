"""The words of a command line are split as click splits them."""

from __future__ import annotations

import pytest

from hpctune.cli.run import command as run
from hpctune.cli.words import parts, with_values, without


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("a.py --yes --name x", "a.py --name x"),
        ("--code lib --code=more a.py -y", "a.py"),
        ("a.py --name --yes", "a.py --name --yes"),
        ("a.py -p gpu -t 2h --code-limit 1GB -- --yes", "a.py -p gpu -t 2h -- --yes"),
        ("--resume --yes a.py", "--resume a.py"),
        ("--resume AUTO a.py --detach", "--resume AUTO a.py"),
        ("a.py -pgpu -y", "a.py -pgpu"),
    ],
)
def test_without(typed: str, left: str) -> None:
    assert without(run, typed.split(), {"yes", "code", "code_limit", "detach"}) == left.split()


def test_values() -> None:
    typed = ["a.py", "--name=x", "-pgpu", "--set", "a=1", "--yes", "-"]
    found = [(part.option, part.value) for part in parts(run, typed)]
    assert found == [
        (None, None), ("name", "x"), ("partition", "gpu"), ("config_values", "a=1"), ("yes", None), (None, None),
    ]  # fmt: skip
    changed = with_values(run, typed, {"name": "y", "partition": "cpu"})
    assert " ".join(changed) == "a.py --name y -p cpu --set a=1 --yes -"
