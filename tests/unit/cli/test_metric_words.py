"""What ``--metric`` says: a name, several names, or a regular expression."""

from __future__ import annotations

import pytest

from hpctune.cli.searchoptions import metric_of
from hpctune.errors import UsageError
from hpctune.interop.command_search import several


@pytest.mark.parametrize("name", ["val_loss", "f(x*)", "accuracy (%)", "loss(train)", "mAP (0.5)"])
def test_parentheses_without_digits_to_find_belong_to_the_name(name: str) -> None:
    assert metric_of(name) == (name, None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("val_loss: ([0-9.]+)", "val_loss"),
        (r"f\(x\) = (\S+)", "f_x"),
        ("loss (.*)", "loss"),
        (r"(?P<acc>\d+)%", "acc"),
    ],
)
def test_what_can_find_digits_is_a_regular_expression(text: str, name: str) -> None:
    assert metric_of(text) == (name, text)


def test_what_is_wrong_with_an_expression_is_told() -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        metric_of("loss: ([0-9]+")
    with pytest.raises(UsageError, match="has no group"):
        metric_of(r"loss: (?:\d+)")


def test_a_comma_in_parentheses_does_not_divide() -> None:
    assert several("loss, f(x, y),acc") == ["loss", "f(x, y)", "acc"]
