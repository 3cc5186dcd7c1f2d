"""Writes the trials of an experiment to the user's study, and calls the user's callbacks."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.trial import FrozenTrial, TrialState

from hpctune.common.log import log
from hpctune.common.text import quoted
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
        self._created = self._written = 0
        """How many of the trials that were asked, and that were told, are there."""

    @property
    def study(self) -> optuna.Study:
        """The user's study."""
        return self._handle.study

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ids": None, "_created": 0, "_written": 0}

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Show that the trial runs."""
        policy = self._search.policy
        if policy is not None and trial.trial_id in policy.replica.ids:
            self._id_of(policy, trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Write the trial, and call the user's callbacks."""
        self._over(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """The same for a trial that failed."""
        self._over(trial, failed=True)

    def catch_up(self) -> None:
        """Write whatever is not written yet."""
        policy, study = self._search.policy, self.study
        if policy is None:
            return
        while self._written < len(policy.told):
            self._write(policy.told[self._written])
            self._written += 1
        attrs, storage, study_id = policy.replica.study_attrs(), study._storage, study._study_id
        for name, value in attrs["study_attrs"].items():
            if storage.get_study_system_attrs(study_id).get(name) != value:
                storage.set_study_system_attr(study_id, name, value)
        for name, value in attrs["study_user_attrs"].items():
            if study.user_attrs.get(name) != value:
                study.set_user_attr(name, value)

    def _over(self, trial: Trial, failed: bool) -> None:
        policy, trial_id = self._search.policy, trial.trial_id
        if policy is None or trial_id not in policy.replica.ids:
            return
        policy.on_complete(trial_id, trial.last_result, failed)  # before the user's callbacks see the study
        why = (trial.last_result or {}).get("failure")
        if why is not None and not failed:
            logs = f"hpctune logs {quoted(trial.local_experiment_path)} {trial_id} --both"
            log.warning(f"hpctune: trial {trial_id} has no value: {why}. Its output: {logs}")
        self.catch_up()
        study, written = self.study, self._id_of(policy, trial_id)
        study._thread_local.in_optimize_loop, study._stop_flag = True, False
        try:
            for callback in self._callbacks:
                callback(study, copy.deepcopy(study._storage.get_trial(written)))
        finally:
            study._thread_local.in_optimize_loop = False
        if study._stop_flag:
            policy.replica.study.stop()

    def _id_of(self, policy: StudyPolicy, trial_id: str) -> int:
        """The id of the trial in the user's storage. It is made there if it is new, after those that were asked before
        it: so they have the same numbers."""
        if self._ids is None:
            self._ids = self._marked(policy)
        wanted = policy.replica.mark(trial_id)
        if wanted not in self._ids:
            for each in list(islice(policy.replica.ids, self._created, None)):
                self._created += 1
                mark = policy.replica.mark(each)
                if mark not in self._ids:
                    self._ids[mark] = self._create(policy.replica.frozen(each), mark)
                if each == trial_id:
                    break
        return self._ids[wanted]

    def _marked(self, policy: StudyPolicy) -> dict[str, int]:
        """The ids of the trials that are there, by mark."""
        storage, ids = self.study._storage, dict[str, int]()
        for trial in self.study.get_trials(deepcopy=False):
            mark = str(trial.system_attrs.get(MARK, ""))
            if trial.state is TrialState.WAITING and mark.startswith(f"{policy.replica.token}/"):
                storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)  # a driver died at this point
            if mark:
                ids[mark] = trial._trial_id
        return ids

    def _create(self, source: FrozenTrial, mark: str) -> int:
        """Make the trial. It has its mark from the start, so that it is known whenever the driver dies."""
        created = self._queued(source, mark)
        if created is None:
            attrs = {**source.system_attrs, MARK: mark}
            running = optuna.trial.create_trial(
                state=TrialState.RUNNING, user_attrs=source.user_attrs, system_attrs=attrs
            )
            created = self.study._storage.create_new_trial(self.study._study_id, template_trial=running)
        return created

    def _queued(self, source: FrozenTrial, mark: str) -> int | None:
        """The trial that the user has enqueued and that ``source`` is, now running. It has the user's attributes."""
        fixed = source.system_attrs.get("fixed_params")
        if fixed is None:
            return None
        storage = self.study._storage
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            same = trial.system_attrs.get("fixed_params") == fixed
            if not same or trial.system_attrs.get(MARK):
                continue
            storage.set_trial_system_attr(trial._trial_id, MARK, mark)
            if storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                return trial._trial_id
            with contextlib.suppress(RuntimeError):  # UpdateFinishedTrialError: another process has it
                storage.set_trial_system_attr(trial._trial_id, MARK, "")
        return None

    def _write(self, trial_id: str) -> None:
        policy = self._search.policy
        assert policy is not None
        storage, source = self.study._storage, policy.replica.frozen(trial_id)
        known = storage.get_trial(written := self._id_of(policy, trial_id))
        if known.state.is_finished():
            if known.state is not source.state and source.state is TrialState.COMPLETE:  # it had failed before
                created = storage.create_new_trial(self.study._study_id, template_trial=source)
                assert self._ids is not None
                self._ids[policy.replica.mark(trial_id)] = created
            return
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
