"""The search of a study: its trials are asked of a copy of it in the driver, and told there."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import GridSampler
from optuna.trial import TrialState

from hpctune.interop.optuna.records import MARK, params_out
from hpctune.interop.optuna.replica import Definition, Replica
from hpctune.model.rows import PRIVATE
from hpctune.search.base import EXHAUSTED, Exhausted, SearchAlgorithm, Suggestion, Wait


class StudySearch(SearchAlgorithm):
    """Searches as a study does. ``timeout``: seconds after the first trial was made in which others are.

    ``policy``: what the newest driver of this process asks.
    """

    def __init__(self, definition: Definition, timeout: float | None) -> None:
        self.definition, self.timeout = definition, timeout
        self.policy: StudyPolicy | None = None

    def bind(
        self,
        space: Mapping[str, Any],
        num_samples: int,
        seed: int,
        *,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
    ) -> StudyPolicy:
        """Return the policy. The space is empty: the objective has its own."""
        self.policy = StudyPolicy(self.definition, self.timeout, num_samples)
        return self.policy

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "policy": None}


class StudyPolicy:
    """Asks the study's copy for each trial.

    A trial that is asked while no other is under way gets the sampler as the trial before has left it: so trials that
    run one after another have the parameters that they would have without hpctune. Others get other random numbers.
    """

    def __init__(self, definition: Definition, timeout: float | None, num_samples: int) -> None:
        self.replica = Replica(definition, sampler=copy.deepcopy(definition.sampler))
        self.total = None if num_samples == -1 else num_samples
        self._timeout = timeout
        self._began: float | None = None
        self._under_way: set[str] = set()
        self.last_alone: str | None = ""
        """The trial that has the sampler's state; "": as it was at the start; None: no trial has it."""
        self._reseeded = False
        self._uncaught = 0
        self._forgiven: int | None = None
        """Trials that failed with an error that was not caught: how many, and how many before this driver."""
        self.told: list[str] = []
        """The trials that were told, in their order. One that failed and went on comes again."""

    # -- trials -------------------------------------------------------------------------------------------------

    def suggest(self, index: int, trial_id: str) -> Suggestion | Wait | Exhausted:
        """Ask for a trial. None is asked after ``study.stop()``, the timeout, or an error that is not caught."""
        if self._forgiven is None:
            self._forgiven = self._uncaught  # those of earlier drivers: the user has resumed the search after them
        stopped = self.replica.study.stopped or self._uncaught > self._forgiven or self._is_late()
        if stopped or self._all_asked() or (self.total is not None and index >= self.total):
            return EXHAUSTED
        payload = self._ask(trial_id)
        return Suggestion({PRIVATE: payload}, dict(payload["system_attrs"].get("fixed_params", {})))

    def _is_late(self) -> bool:
        if self._began is None:
            self._began = time.time()
        return self._timeout is not None and time.time() - self._began >= self._timeout

    def _all_asked(self) -> bool:
        """Whether a grid has no point left that was not asked for."""
        sampler = self.replica.study.sampler
        if not isinstance(sampler, GridSampler):
            return False
        trials = self.replica.study.get_trials(deepcopy=False)
        asked = {t.system_attrs["grid_id"] for t in trials if "grid_id" in t.system_attrs}
        waiting = any(t.state is TrialState.WAITING for t in trials)
        return len(asked) >= len(sampler._all_grids) and not waiting

    def _ask(self, trial_id: str) -> dict[str, Any]:
        alone = not self._under_way and self.last_alone is not None
        study = self.replica.study
        if not alone and not self._reseeded:
            self._reseeded = True
            study.sampler.reseed_rng()
        trial = study.ask()
        self.replica.ids[trial_id] = trial._trial_id
        self.replica.storage.set_trial_system_attr(trial._trial_id, MARK, self.replica.mark(trial_id))
        payload: dict[str, Any] = {"token": self.replica.token, "number": trial.number, "at": self._began}
        if alone:
            payload["sampler"] = self.last_alone
            self.last_alone = trial_id
        else:
            relative = trial.relative_params
            payload["relative"] = params_out(relative, trial.relative_search_space or {})
        frozen = self.replica.frozen(trial_id)
        payload |= {"system_attrs": frozen.system_attrs, "user_attrs": frozen.user_attrs}
        self._under_way.add(trial_id)
        return payload

    def replay(self, index: int, trial_id: str, config: Mapping[str, Any]) -> None:
        """Take note of a trial that was asked before."""
        payload = config[PRIVATE]
        self._began = payload.get("at", self._began)
        self.replica.added(trial_id, payload)
        self._under_way.add(trial_id)
        if payload.get("sampler") is not None:
            self.last_alone = trial_id

    # -- results ------------------------------------------------------------------------------------------------

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Take note of an intermediate value."""
        if trial_id in self.replica.ids:
            self._under_way.add(trial_id)  # again, if it had failed before
            self.replica.heard(trial_id, result.get("step"), result.get("intermediate"), result.get(PRIVATE))

    def on_pause(self, trial_id: str) -> None:
        """Nothing changes."""

    def on_unpause(self, trial_id: str) -> None:
        """Nothing changes."""

    def on_complete(self, trial_id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """Tell the study, once."""
        if trial_id not in self._under_way:
            return
        self._under_way.remove(trial_id)
        self._uncaught += error
        if self.last_alone == trial_id and trial_id not in self.replica.records:
            self.last_alone = None  # what its sampler has used up is unknown
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.replica.ended(trial_id, tell=True)
        self.told.append(trial_id)
