"""Words of a command line that name parameters."""

from __future__ import annotations

import pytest

from hpctune.cli.parameters import is_pair


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("lr=0.1,0.2", True),
        ("opt=adam, sgd", True),
        ("name=text: a", True),
        ("python train.py --lr=0.1", False),
        ("LR={lr} python train.py {seed}", False),
        ("A=1 B=2 ./run", False),
        ("./run", False),
    ],
)
def test_a_command_that_begins_with_variables_is_no_parameter(word: str, expected: bool) -> None:
    assert is_pair(word) is expected
