"""What of an Optuna trial travels as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpctune.errors import UsageError
from hpctune.interop.optuna.records import params_in, params_out

pytestmark = pytest.mark.filterwarnings("ignore:Choices for a categorical")


def _there_and_back(value: Any, distribution: BaseDistribution) -> None:
    data = json.loads(json.dumps(params_out({"x": value}, {"x": distribution})))
    assert params_in(data) == ({"x": value}, {"x": distribution})


@pytest.mark.parametrize(
    ("choices", "value"),
    [
        (["adam", None, True, 1], None),
        ([(50,), (100, 50)], (100, 50)),
        ([[1, 2], [(3, 4), {"a": (5,)}]], [(3, 4), {"a": (5,)}]),
        (list(np.arange(3)), 2),
    ],
)
def test_a_choice_comes_back(choices: list[Any], value: Any) -> None:
    _there_and_back(value, CategoricalDistribution(choices))


def test_a_number_comes_back() -> None:
    _there_and_back(0.1, FloatDistribution(1e-5, 1, log=True))
    _there_and_back(3, IntDistribution(1, 9, step=2))


def test_a_choice_that_is_an_object_is_refused_with_what_helps() -> None:
    with pytest.raises(UsageError, match=r"'x' cannot be kept .* choose its name"):
        params_out({"x": object}, {"x": CategoricalDistribution([object, int])})
