"""Words of a command line that name parameters."""

from __future__ import annotations

import pytest

from hpctune.cli.parameters import is_pair, rows_of_lines
from hpctune.errors import UsageError


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


def test_an_option_given_twice_in_a_line_is_refused_unless_it_takes_several_values() -> None:
    with pytest.raises(UsageError, match="Line 1 gives 'tag' twice"):
        rows_of_lines(["--tag a --tag b"])
    assert rows_of_lines(["--in-dir a --in-dir b"], {"in_dir"}) == [{"in-dir": ["a", "b"]}]
