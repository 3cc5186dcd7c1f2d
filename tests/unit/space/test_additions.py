"""Configurations that a user adds to a search."""

from __future__ import annotations

from typing import Any

import pytest

from hpctune.errors import UsageError
from hpctune.space import choice, grid_search, uniform
from hpctune.space.additions import additions

SPACE = {"lr": uniform(0, 1), "model": {"layers": choice([1, 2]), "kind": "cnn"}, "seed": 3}


def made(values: dict[str, Any], **options: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return list(additions(SPACE, values, seed=1, **options))


def test_what_is_not_given_is_sampled() -> None:
    ((config, varied),) = made({"lr": 5.0})
    assert config["lr"] == 5.0
    assert config["model"]["layers"] in (1, 2)
    assert config["model"]["kind"] == "cnn"
    assert varied == {"lr": 5.0, "model/layers": config["model"]["layers"]}


def test_domains_grids_and_numbers_of_samples() -> None:
    drawn = made({"model.layers": grid_search([3, 4]), "seed": choice([8, 9])}, num_samples=2)
    assert [varied["model/layers"] for _, varied in drawn] == [3, 4, 3, 4]
    assert all(varied["seed"] in (8, 9) and 0 <= varied["lr"] <= 1 for _, varied in drawn)


def test_a_constant_that_is_given_shows_in_the_tables() -> None:
    ((config, varied),) = made({"seed": 4, "model/kind": "rnn"})
    assert (config["seed"], config["model"]["kind"]) == (4, "rnn")
    assert (varied["seed"], varied["model/kind"]) == (4, "rnn")


def test_like_another_trial() -> None:
    like = {"lr": 0.25, "model": {"layers": 2, "kind": "cnn"}, "seed": 3}
    assert made({"seed": 5}, like=like) == [({**like, "seed": 5}, {"lr": 0.25, "model/layers": 2, "seed": 5})]


@pytest.mark.parametrize("values", [{"lrr": 1}, {"model.depth": 1}, {"seed/x": 1}])
def test_unknown_parameters_are_named_with_the_nearest(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"The search space has no .*It has: "):
        made(values)
