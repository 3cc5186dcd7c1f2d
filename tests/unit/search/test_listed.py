"""Configurations that are listed one by one."""

from __future__ import annotations

import pytest

from hpctune.errors import UsageError
from hpctune.search import EXHAUSTED, ListedConfigurations, Suggestion
from hpctune.search.base import SearchPolicy
from hpctune.space import choice

ROWS = [{"lr": 0.1, "width": 1}, {"lr": 0.2, "depth": [1, 2]}, {"lr": 0.2, "depth": [1, 2], "flag": None}]
SPACE = {"lr": choice([0.1, 0.2]), "width": 1, "depth": [1, 2], "flag": None}


def suggested(policy: SearchPolicy, first: int = 0) -> list[Suggestion]:
    found = []
    for index in range(first, 10):
        suggestion = policy.suggest(index, f"t{index}")
        if suggestion is EXHAUSTED:
            break
        assert isinstance(suggestion, Suggestion)
        found.append(suggestion)
    return found


def test_each_is_tried_once_as_it_is() -> None:
    policy = ListedConfigurations(ROWS).bind(SPACE, 3, 0)
    assert policy.total == 3
    found = suggested(policy)
    assert [each.config for each in found] == ROWS
    assert found[2].evaluated == {"lr": 0.2, "depth": [1, 2], "flag": None}


def test_only_what_differs_names_the_trial() -> None:
    rows = [{"lr": lr, "epochs": 3} for lr in (0.1, 0.2)]
    assert [each.evaluated for each in suggested(ListedConfigurations(rows).bind({"epochs": 3}, 2, 0))] == [
        {"lr": 0.1},
        {"lr": 0.2},
    ]


def test_a_constant_of_the_space_replaces_values() -> None:
    found = suggested(ListedConfigurations(ROWS).bind({**SPACE, "lr": 0.5, "depth": 7}, 3, 0))
    assert [each.config for each in found] == [
        {"lr": 0.5, "width": 1},
        {"lr": 0.5, "depth": 7},
        {"lr": 0.5, "depth": 7, "flag": None},
    ]
    rows = [{"lr": 0.1, "a": 1}, {"lr": 0.2, "a": 1}]
    assert len(suggested(ListedConfigurations(rows).bind({"lr": 0.5, "a": 1}, 2, 0))) == 1


def test_what_was_tried_is_not_tried_again() -> None:
    policy = ListedConfigurations(ROWS).bind(SPACE, 3, 0)
    for index in (0, 1):
        policy.replay(index, f"t{index}", ROWS[index])
    assert [each.config for each in suggested(policy, 2)] == ROWS[2:]


@pytest.mark.parametrize("wrong", [[], None, "text", [1]])
def test_what_is_no_list_of_configurations(wrong: object) -> None:
    with pytest.raises(UsageError):
        ListedConfigurations(wrong)  # type: ignore[arg-type]
