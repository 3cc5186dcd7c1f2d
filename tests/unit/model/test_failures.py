"""What went wrong, on one line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hpctune.model import failures
from hpctune.model.trial import Phase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no such layer", "no such layer"),
        ("The command ended. Its last output:\nTraceback\nValueError: no such layer\n", "ValueError: no such layer"),
        (
            (
                "The command ended.\nno viable alternative\nSee https://hydra.cc/docs for details\n\n"
                "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace."
            ),
            "no viable alternative",
        ),
        ("ValueError: no such layer\nsrun: error: n1: task 0: Exited with exit code 1", "ValueError: no such layer"),
        ("srun: error: n1: task 0: Exited with exit code 1", "srun: error: n1: task 0: Exited with exit code 1"),
        ("", ""),
    ],
)
def test_the_line_that_says_most(text: str, expected: str) -> None:
    trial: Any = SimpleNamespace(error=None, reason=text, phase=Phase.ERROR)
    assert failures.brief(trial) == expected
