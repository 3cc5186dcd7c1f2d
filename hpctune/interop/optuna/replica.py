"""A copy of a study in memory that knows the trials of an experiment: the driver's, and that of each job."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpctune.interop.optuna.records import MARK, metric_names, params_in


@dataclass(slots=True)
class Definition:
    """What the user's study is at the start of a search. ``token``: of this search; its trials carry it."""

    name: str
    directions: Sequence[Any]
    sampler: optuna.samplers.BaseSampler
    pruner: optuna.pruners.BasePruner
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    metric_names: list[str] | None
    token: str
    trials: list[FrozenTrial] = field(default_factory=list)

    @classmethod
    def of(cls, study: optuna.Study, token: str) -> Definition:
        """The definition of ``study``, with the trials that it has."""
        return cls(
            study.study_name,
            study.directions,
            study.sampler,
            study.pruner,
            study.user_attrs,
            study._storage.get_study_system_attrs(study._study_id),
            study.metric_names,
            token,
            study.get_trials(),
        )

    @property
    def values(self) -> list[str]:
        """The names of the study's values in results."""
        return metric_names(len(self.directions), self.metric_names)


class ReplicaStorage(InMemoryStorage):
    """A storage in memory in which a trial that is over can go on."""

    def reopen(self, trial_id: int) -> None:
        """Let the trial run again."""
        trial = copy.copy(self._get_trial(trial_id))
        trial.state, trial.values, trial.datetime_complete = TrialState.RUNNING, None, None
        self._set_trial(trial_id, trial)


class ReplicaStudy(optuna.Study):
    """A study that remembers that somebody stopped it."""

    stopped = False

    def stop(self) -> None:
        self.stopped = True


class Replica:
    """The study, and which of its trials are those of the experiment.

    ``study``: its sampler and pruner are those of the definition, unless given.
    """

    def __init__(
        self,
        definition: Definition,
        storage: ReplicaStorage | None = None,
        sampler: optuna.samplers.BaseSampler | None = None,
    ) -> None:
        self.definition = definition
        self.storage = storage or ReplicaStorage()
        with quiet():
            study_id = self.storage.create_new_study(list(definition.directions), definition.name)
            for name, value in definition.user_attrs.items():
                self.storage.set_study_user_attr(study_id, name, value)
            for name, value in definition.system_attrs.items():
                self.storage.set_study_system_attr(study_id, name, value)
            self.study = ReplicaStudy(definition.name, self.storage, sampler or definition.sampler, definition.pruner)
        self._study_id = study_id
        self._marked: dict[str, int] = {}
        """The ids in the storage of trials that an earlier driver has written to the user's storage, by mark."""
        for trial in definition.trials:
            self.storage.create_new_trial(study_id, trial)
        self.token = definition.token
        """Of the search: that of its first start."""
        self.ids: dict[str, int] = {}
        """The id in the storage of each trial of the experiment."""
        self.records: dict[str, Mapping[str, Any]] = {}
        """The last record of each trial of the experiment."""
        self.reached: dict[str, dict[int, float]] = {}
        """The intermediate values of trials that are not over."""

    def _adopt(self, token: str) -> None:
        """Go on with an earlier start's search, some of whose trials the user's storage may have."""
        self.token = token
        for trial in self.study.get_trials(deepcopy=False):
            mark = str(trial.system_attrs.get(MARK, ""))
            if mark.startswith(f"{token}/"):
                self._marked[mark] = trial._trial_id
        for internal in self._marked.values():
            self.storage.reopen(internal)

    def mark(self, trial_id: str) -> str:
        """What marks the trial in a storage."""
        return f"{self.token}/{trial_id}"

    def frozen(self, trial_id: str) -> FrozenTrial:
        """The trial of the experiment as it is now."""
        return self.storage.get_trial(self.ids[trial_id])

    # -- facts, in the order of the journal ---------------------------------------------------------------------

    def added(self, trial_id: str, payload: Mapping[str, Any]) -> None:
        """A trial was made from ``payload``. Trials that are unknown here and have smaller numbers are made too."""
        if payload["token"] != self.token:
            self._adopt(payload["token"])
        number, attrs = int(payload["number"]), payload.get("system_attrs", {})
        internal = self._marked.pop(self.mark(trial_id), None)
        if internal is None:
            internal = self._waiting(number, attrs)
        if internal is None:
            while len(self.study.get_trials(deepcopy=False)) < number:  # what another process has added meanwhile
                self.storage.create_new_trial(self._study_id, create_trial(state=TrialState.FAIL))
            internal = self.storage.create_new_trial(self._study_id)
        for name, value in attrs.items():
            self.storage.set_trial_system_attr(internal, name, value)
        for name, value in payload.get("user_attrs", {}).items():
            self.storage.set_trial_user_attr(internal, name, value)
        self.ids[trial_id] = internal

    def _waiting(self, number: int, attrs: Mapping[str, Any]) -> int | None:
        """The trial that waited in the queue with these parameters: that with this number if there are several."""
        if "fixed_params" not in attrs:
            return None
        states = (TrialState.WAITING,)
        waiting = [
            trial
            for trial in self.study.get_trials(deepcopy=False, states=states)
            if trial.system_attrs.get("fixed_params") == attrs["fixed_params"]
        ]
        waiting.sort(key=lambda trial: trial.number != number)
        if not waiting:
            return None
        self.storage.set_trial_state_values(waiting[0]._trial_id, TrialState.RUNNING)
        return waiting[0]._trial_id

    def heard(self, trial_id: str, step: int | None, value: float | None, record: Mapping[str, Any] | None) -> None:
        """A trial has reported an intermediate value, or its record."""
        if record is not None:
            self.records[trial_id] = record
            if record.get("stop"):
                self.study.stop()
        if step is not None and value is not None and trial_id in self.ids:
            self.reached.setdefault(trial_id, {})[step] = value
            if self.frozen(trial_id).state.is_finished():
                self.storage.reopen(self.ids[trial_id])
            self.storage.set_trial_intermediate_value(self.ids[trial_id], step, value)

    def ended(self, trial_id: str, tell: bool = False) -> None:
        """A trial is over. ``tell``: let the sampler know, as the driver's does."""
        if trial_id not in self.ids:
            return
        internal, record = self.ids[trial_id], self.records.get(trial_id)
        self.reached.pop(trial_id, None)
        if self.storage.get_trial(internal).state.is_finished():
            self.storage.reopen(internal)
        if record is not None:
            self._fill(internal, record)
        state = TrialState[record["state"]] if record is not None else TrialState.FAIL
        told = record["values"] if record is not None else None
        trial = self.storage.get_trial(internal)
        try:
            if tell:
                study = optuna.pruners._filter_study(self.study, trial)
                study.sampler.after_trial(study, trial, state, told)
        finally:
            self.storage.set_trial_state_values(internal, state, told)

    def _fill(self, internal: int, record: Mapping[str, Any]) -> None:
        known = self.storage.get_trial(internal)
        params, distributions = params_in(record["params"])
        for name, value in params.items():
            if name not in known.params:
                inside = distributions[name].to_internal_repr(value)
                self.storage.set_trial_param(internal, name, inside, distributions[name])
        for step, value in record["intermediate"]:
            self.storage.set_trial_intermediate_value(internal, step, value)
        for name, value in record["user_attrs"].items():
            self.storage.set_trial_user_attr(internal, name, value)
        for name, value in record["system_attrs"].items():
            self.storage.set_trial_system_attr(internal, name, value)
        for name, value in record.get("study_attrs", {}).items():
            self.storage.set_study_system_attr(self._study_id, name, value)
        for name, value in record.get("study_user_attrs", {}).items():
            self.storage.set_study_user_attr(self._study_id, name, value)

    def study_attrs(self) -> dict[str, dict[str, Any]]:
        """The study's own attributes. Some samplers count in those of the system."""
        return {
            "study_attrs": dict(self.storage.get_study_system_attrs(self._study_id)),
            "study_user_attrs": dict(self.storage.get_study_user_attrs(self._study_id)),
        }


@contextlib.contextmanager
def quiet() -> Any:
    """No line about a new study."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
