"""The search of a KerasTuner, with an oracle that stands for one of KerasTuner's."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from hpctune.interop.keras_tuner.patching import MODULE, patched
from hpctune.interop.keras_tuner.policy import OraclePolicy
from hpctune.model.rows import PRIVATE
from hpctune.search.base import EXHAUSTED, WAIT, Suggestion


class Oracle:
    """Gives the statuses of ``plan`` one after another; a trial of "RUNNING" has its number as the value of ``x``."""

    def __init__(self, *plan: str, retries: int = 0) -> None:
        self.plan, self.trials, self.ended = list(plan), dict[str, Any](), list[tuple[str, str]]()
        self.max_trials, self.max_retries_per_trial = 3, retries

    def create_trial(self, tuner_id: str) -> Any:
        status = self.plan.pop(0) if self.plan else "STOPPED"
        number = len(self.trials)
        trial = SimpleNamespace(
            status=status, trial_id=str(number), hyperparameters=SimpleNamespace(values={"x": number}), message=None,
            get_state=lambda: {"trial_id": str(number)},
        )  # fmt: skip
        if status == "RUNNING":
            self.trials[trial.trial_id] = trial
        return trial

    def end_trial(self, trial: Any) -> None:
        self.ended.append((trial.trial_id, trial.status))
        if len(self.ended) == 2:
            raise RuntimeError("too many failures")


def test_an_oracle_that_waits_and_one_that_has_stopped() -> None:
    policy = OraclePolicy(Oracle("RUNNING", "IDLE", "STOPPED"), -1)
    first = policy.suggest(0, "a")
    assert isinstance(first, Suggestion)
    assert (first.evaluated, first.config) == ({"x": 0}, {"x": 0, PRIVATE: {"trial": {"trial_id": "0"}}})
    assert policy.suggest(1, "b") is WAIT
    assert policy.suggest(1, "b") is WAIT, "the trial may state parameters that the oracle does not know"
    policy.on_complete("a", {"loss": 1}, error=False)
    assert policy.suggest(1, "b") is EXHAUSTED
    assert policy.total == 3


def test_a_trial_that_may_be_tried_again_is_not_counted() -> None:
    assert OraclePolicy(Oracle(retries=1), -1).total is None
    assert OraclePolicy(Oracle(retries=1), 5).total == 5


def test_the_limit_of_the_command_line_holds() -> None:
    policy = OraclePolicy(Oracle("RUNNING", "RUNNING"), 1)
    assert isinstance(policy.suggest(0, "a"), Suggestion)
    assert policy.suggest(1, "b") is EXHAUSTED
    assert policy.total == 1


def test_an_oracle_that_gives_up_ends_the_search() -> None:
    oracle = Oracle("RUNNING", "RUNNING", "RUNNING")
    policy = OraclePolicy(oracle, -1)
    for index, trial_id in enumerate("ab"):
        policy.suggest(index, trial_id)
        policy.on_complete(trial_id, None, error=index == 1)
    assert oracle.ended == [("0", "FAILED"), ("1", "INVALID")]
    assert str(policy.failure) == "too many failures"
    assert policy.suggest(2, "c") is EXHAUSTED


def test_methods_are_replaced_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    class BaseTuner:
        def search(self) -> str:
            return "its own"

    module = ModuleType(MODULE)
    vars(module)["BaseTuner"] = BaseTuner
    monkeypatch.setitem(sys.modules, MODULE, module)
    with patched(lambda base: {"search": lambda self: "ours"}):
        assert BaseTuner().search() == "ours"
    assert BaseTuner().search() == "its own"
