"""One way to read a metric: what counts as a number, by which names it is found, and what is said if it is none."""

from __future__ import annotations

import math
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hpctune.errors import MetricError
from hpctune.model.ranking import best
from hpctune.model.rows import as_metric, lookup, metric_error, number
from hpctune.storage import values


@pytest.mark.parametrize(
    "reported",
    [
        0.5, np.float32(0.5), np.array(0.5), np.array([0.5]), np.array([[0.5]]), Decimal("0.5"), Fraction(1, 2), "0.5",
        " 5e-1 ", [0.5],
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_a_number_is_taken_as_one(reported: Any) -> None:
    row = values.plain({"loss": reported})
    assert number(row, "loss") == 0.5


@pytest.mark.parametrize("reported", [None, "high", [0.1, 0.2], [], {"a": 1}, "12_000", "0x10", np.array([1.0, 2.0])])
def test_what_is_none_is_said_to_be_none(reported: Any) -> None:
    row = values.plain({"loss": reported, "acc": 0.1})
    assert number(row, "loss") is None
    message = str(metric_error(row, "loss", "The metric"))
    assert message.startswith("The metric 'loss' was reported, but ")
    assert message.endswith("is no number. Report a number with hpctune.report(loss=...).")


def test_what_was_never_reported_is_said_with_what_was() -> None:
    error = metric_error({"acc": 0.1}, "loss", "The metric")
    assert "was never reported. Reported were: acc." in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    other = MetricError("a b", (), "The metric", "[1, 2]")
    assert str(pickle.loads(pickle.dumps(other))) == str(other)


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"val/loss": {"ce": 1}}, "val/loss/ce"),
        ({"val": {"loss/ce": 1}}, "val/loss/ce"),
        ({"val": {"loss": {"ce": 1}}}, "val/loss/ce"),
        ({"val/loss/ce": 1, "val": {"loss": {"ce": 2}}}, "val/loss/ce"),
        ({"val": {"x": 3}, "val/loss": {"ce": 1}}, "val/loss/ce"),
    ],
)
def test_names_with_slashes_at_any_level(row: dict[str, Any], key: str) -> None:
    assert lookup(row, key) == 1
    assert lookup(row, "val/none", "default") == "default"


def test_numbers_too_large_for_a_float_are_infinite() -> None:
    assert as_metric(10**400) == math.inf
    assert as_metric(-(10**400)) == -math.inf


def test_the_best_is_finite() -> None:
    scored = [(math.inf, "a"), (2.0, "b"), (None, "c"), (math.nan, "d"), (3.0, "e"), (3.0, "f")]
    assert best(scored, "max") == (3.0, "e")
    assert best(scored, "min") == (2.0, "b")
    assert best([(math.nan, "a")], "min") is None
    assert best([(math.nan, "a"), (1.0, "b")], "max", finite=False) == (1.0, "b")
    assert best(scored, "max", finite=False) == (math.inf, "a")
