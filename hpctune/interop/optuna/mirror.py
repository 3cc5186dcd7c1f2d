"""Writes the trials of an experiment to the user's study, and calls the user's callbacks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.trial import FrozenTrial, TrialState

from hpctune.interop.optuna.policy import StudyPolicy, StudySearch
from hpctune.interop.optuna.records import MARK
from hpctune.interop.optuna.replica import quiet
from hpctune.output.callback import Callback
from hpctune.trial import Trial

StudyCallback = Callable[[optuna.Study, FrozenTrial], None]


class StudyHandle:
    """The user's study. Its pickle names its storage, and holds the trials only if that is in memory."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study

    def __reduce__(self) -> tuple[Any, ...]:
        study = self.study
        return _opened, (study.study_name, study._storage, study.sampler, study.pruner)


def _opened(name: str, storage: Any, sampler: Any, pruner: Any) -> StudyHandle:
    with quiet():
        return StudyHandle(optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner))


class StudyMirror(Callback):
    """Keeps the user's study up to date. Every trial is written once, also over several drivers."""

    def __init__(self, study: optuna.Study, search: StudySearch, callbacks: Sequence[StudyCallback]) -> None:
        self._handle, self._search, self._callbacks = StudyHandle(study), search, tuple(callbacks)
        self._ids: dict[str, int] | None = None
        """The ids in the user's storage, by mark."""

    @property
    def study(self) -> optuna.Study:
        """The user's study."""
        return self._handle.study

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ids": None}

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Show that the trial runs."""
        policy = self._search.policy
        if policy is not None and trial.trial_id in policy.replica.ids:
            self._id_of(policy, trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Write the trial, and call the user's callbacks."""
        self._over(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """The same for a trial that failed."""
        self._over(trial.trial_id)

    def catch_up(self) -> None:
        """Write whatever is not written yet."""
        policy, study = self._search.policy, self.study
        if policy is None:
            return
        for trial_id in policy.told:
            self._write(trial_id)
        attrs, storage, study_id = policy.replica.study_attrs(), study._storage, study._study_id
        for name, value in attrs["study_attrs"].items():
            if storage.get_study_system_attrs(study_id).get(name) != value:
                storage.set_study_system_attr(study_id, name, value)
        for name, value in attrs["study_user_attrs"].items():
            if study.user_attrs.get(name) != value:
                study.set_user_attr(name, value)

    def _over(self, trial_id: str) -> None:
        policy = self._search.policy
        if policy is None or trial_id not in policy.replica.ids:
            return
        self.catch_up()
        written = self._write(trial_id)
        study = self.study
        study._thread_local.in_optimize_loop, study._stop_flag = True, False
        try:
            for callback in self._callbacks:
                callback(study, copy.deepcopy(study._storage.get_trial(written)))
        finally:
            study._thread_local.in_optimize_loop = False
        if study._stop_flag:
            policy.replica.study.stop()

    def _id_of(self, policy: StudyPolicy, trial_id: str) -> int:
        """The id of the trial in the user's storage; it is made there if it is new."""
        storage, study_id = self.study._storage, self.study._study_id
        mark = policy.replica.mark(trial_id)
        if self._ids is None:
            known = self.study.get_trials(deepcopy=False)
            self._ids = {str(t.system_attrs[MARK]): t._trial_id for t in known if MARK in t.system_attrs}
        if mark not in self._ids:
            source = policy.replica.frozen(trial_id)
            created = self._queued(source)
            if created is None:
                running = optuna.trial.create_trial(state=TrialState.RUNNING)
                created = storage.create_new_trial(study_id, template_trial=running)
            for name, value in source.user_attrs.items():
                storage.set_trial_user_attr(created, name, value)
            for name, value in {**source.system_attrs, MARK: mark}.items():
                storage.set_trial_system_attr(created, name, value)
            self._ids[mark] = created
        return self._ids[mark]

    def _queued(self, source: FrozenTrial) -> int | None:
        """The trial that the user has enqueued and that ``source`` is, now running."""
        fixed = source.system_attrs.get("fixed_params")
        if fixed is None:
            return None
        storage = self.study._storage
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            same = trial.system_attrs.get("fixed_params") == fixed
            if same and storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                return trial._trial_id
        return None

    def _write(self, trial_id: str) -> int:
        policy = self._search.policy
        assert policy is not None
        storage, source = self.study._storage, policy.replica.frozen(trial_id)
        known = storage.get_trial(written := self._id_of(policy, trial_id))
        if known.state.is_finished():
            if known.state is source.state or source.state is not TrialState.COMPLETE:
                return written
            written = storage.create_new_trial(self.study._study_id, template_trial=source)  # it failed before
            assert self._ids is not None
            self._ids[policy.replica.mark(trial_id)] = written
            return written
        for name, distribution in source.distributions.items():
            if name in known.distributions:
                check_distribution_compatibility(known.distributions[name], distribution)
            inside = distribution.to_internal_repr(source.params[name])
            storage.set_trial_param(written, name, inside, distribution)
        for step, value in source.intermediate_values.items():
            storage.set_trial_intermediate_value(written, step, value)
        for name, value in source.user_attrs.items():
            storage.set_trial_user_attr(written, name, value)
        for name, value in source.system_attrs.items():
            storage.set_trial_system_attr(written, name, value)
        storage.set_trial_state_values(written, source.state, source.values)
        return written
