"""Parameters become arguments of the program that they belong to."""

from __future__ import annotations

import pytest

from hpctune.errors import UsageError
from hpctune.interop.program import Program, with_arguments


@pytest.mark.parametrize(
    ("command", "becomes"),
    [
        ("python x.py", "python x.py --lr {lr}"),
        ("python x.py 2>&1 | tee log", "python x.py --lr {lr} 2>&1 | tee log"),
        ("python x.py >out.txt", "python x.py --lr {lr} >out.txt"),
        ("cd d && python x.py | grep loss", "cd d && python x.py --lr {lr} | grep loss"),
        ("cd d; ./run a", "cd d; ./run a --lr {lr}"),
        ("python x.py --note 'a > b; c'", "python x.py --note 'a > b; c' --lr {lr}"),
        ("python x.py  # the newest", "python x.py --lr {lr} # the newest"),
    ],
)
def test_arguments_stand_before_a_pipe_or_a_redirection(command: str, becomes: str) -> None:
    assert with_arguments(command, {"lr": 0.1}, Program(), None) == becomes


def test_an_argument_without_a_name_that_takes_several_words_is_written_so() -> None:
    program = Program(positional={"files"}, lists={"files": "words"})
    with pytest.raises(UsageError, match=r"Write \{files:words\} in the command"):
        with_arguments("python x.py", {"files": ["a", "b"]}, program, None)
