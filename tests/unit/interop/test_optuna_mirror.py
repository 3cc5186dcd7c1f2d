"""The user's study when the driver dies between two of its writes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from hpctune.interop.optuna.mirror import StudyMirror
from hpctune.interop.optuna.policy import StudyPolicy, StudySearch
from hpctune.interop.optuna.records import MARK
from hpctune.interop.optuna.replica import Definition


class Killed(BaseException):
    """The driver dies."""


class DyingStorage(InMemoryStorage):
    """A storage before whose write number ``dies_at`` the driver dies. Reads do not count."""

    dies_at: int | None = None

    def _count(self) -> None:
        if self.dies_at is not None:
            if self.dies_at == 0:
                raise Killed
            self.dies_at -= 1

    def create_new_trial(self, *args: Any, **kwargs: Any) -> int:
        self._count()
        return super().create_new_trial(*args, **kwargs)

    def set_trial_system_attr(self, *args: Any) -> None:
        self._count()
        super().set_trial_system_attr(*args)

    def set_trial_user_attr(self, *args: Any) -> None:
        self._count()
        super().set_trial_user_attr(*args)

    def set_trial_state_values(self, *args: Any, **kwargs: Any) -> bool:
        self._count()
        return super().set_trial_state_values(*args, **kwargs)


def _driver(study: optuna.Study, token: str) -> tuple[StudyPolicy, StudyMirror]:
    search = StudySearch(Definition.of(study, token), None)
    policy = search.bind({}, 3, 0)
    return policy, StudyMirror(study, search, ())


@pytest.mark.parametrize("enqueued", [False, True])
@pytest.mark.parametrize("dies_at", range(6))
def test_a_driver_that_dies_at_any_write_leaves_no_trial_that_the_next_does_not_know(
    dies_at: int, enqueued: bool
) -> None:
    storage = DyingStorage()
    study = optuna.create_study(storage=storage)
    if enqueued:
        study.enqueue_trial({"x": 0.5}, user_attrs={"memo": "first"})
    policy, mirror = _driver(study, "one")
    suggestion: Any = policy.suggest(0, "t0")
    trial: Any = SimpleNamespace(trial_id="t0", last_result=None)
    storage.dies_at = dies_at
    try:
        mirror.on_trial_start(0, [], trial)
        died = False
    except Killed:
        died = True
    storage.dies_at = None
    assert died is (dies_at < (2 if enqueued else 1))

    policy, mirror = _driver(study, "two")
    policy.replay(0, "t0", suggestion.config)
    mirror.on_trial_start(0, [], trial)
    (only,) = study.get_trials()
    assert only.state is TrialState.RUNNING
    assert only.system_attrs[MARK] == "one/t0"
    assert only.user_attrs == ({"memo": "first"} if enqueued else {})
    mirror.on_trial_error(0, [], trial)
    assert [each.state for each in study.get_trials()] == [TrialState.FAIL]


def test_a_waiting_trial_that_another_process_takes_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage)
    study.enqueue_trial({"x": 0.5})
    policy, mirror = _driver(study, "one")
    policy.suggest(0, "t0")
    take = storage.set_trial_state_values

    def taken(*args: Any, **kwargs: Any) -> bool:
        take(*args, **kwargs)  # by the other
        return take(*args, **kwargs)

    monkeypatch.setattr(storage, "set_trial_state_values", taken)
    trial: Any = SimpleNamespace(trial_id="t0", last_result=None)
    mirror.on_trial_start(0, [], trial)
    assert [(each.state, each.system_attrs.get(MARK)) for each in study.get_trials()] == [
        (TrialState.RUNNING, ""),
        (TrialState.RUNNING, "one/t0"),
    ]
