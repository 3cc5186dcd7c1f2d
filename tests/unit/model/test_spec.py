"""Which names an experiment may have."""

from __future__ import annotations

import pytest

from hpctune.errors import UsageError
from hpctune.model.spec import ExperimentSpec


@pytest.mark.parametrize("name", ["a", "a b", "x" * 240, "\N{SNOWMAN}" * 80])
def test_possible_names(name: str) -> None:
    assert ExperimentSpec("abcde", name, 0.0, "train").name == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_names_that_no_directory_can_have(name: str) -> None:
    with pytest.raises(UsageError, match="An experiment's name must be a plain directory name"):
        ExperimentSpec("abcde", name, 0.0, "train")


@pytest.mark.parametrize(("name", "size"), [("x" * 241, 241), ("\N{SNOWMAN}" * 90, 270)])
def test_names_that_are_too_long(name: str, size: int) -> None:
    with pytest.raises(UsageError, match=f"may have 240 bytes, and this one has {size}: .*Shorten it"):
        ExperimentSpec("abcde", name, 0.0, "train")
