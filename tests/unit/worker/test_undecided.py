"""What a trial does by itself while no driver answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hpctune
from hpctune.model.records import Outcome
from tests.support.worker_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def counts(config: dict[str, Any]) -> None:
    for step in range(1, 100):
        hpctune.report(step=step)


def test_a_limit_that_every_trial_has_is_obeyed_without_a_driver(lab: Lab) -> None:
    end = lab.run(counts, ends_at_value=5.0)
    assert end.outcome is Outcome.COMPLETED
    assert end.reason == "stop criterion training_iteration=5 reached"
    assert lab.column("step") == [1, 2, 3, 4, 5]
    assert lab.results()[-1].row["done"] is True


@pytest.mark.parametrize(
    ("undecided", "outcome", "steps"),
    [("next", Outcome.PAUSED, 6), ("pause", Outcome.PAUSED, 3), ("continue", Outcome.COMPLETED, 9)],
)
def test_what_a_trial_does_while_nobody_answers(lab: Lab, undecided: str, outcome: Outcome, steps: int) -> None:
    end = lab.run(
        counts, milestone=3.0, milestone_then=6.0, undecided=undecided, decision_timeout_s=0.1, ends_at_value=9.0
    )
    assert end.outcome is outcome
    assert lab.column("step") == list(range(1, steps + 1))
