"""The search of a KerasTuner: its oracle is asked for each trial in the driver, and told there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hpctune.common import unpickling
from hpctune.common.log import log
from hpctune.model.rows import PRIVATE
from hpctune.search.base import EXHAUSTED, WAIT, Exhausted, SearchAlgorithm, Suggestion, Wait
from hpctune.usercode.pickling import dump_value

BACKEND = "KERAS_BACKEND"


class OracleSearch(SearchAlgorithm):
    """Searches as an oracle does.

    It is kept pickled, so that a driver without the script imports Keras with the ``backend`` that the script uses.
    ``policy``: what the newest driver of this process asks.
    """

    def __init__(self, oracle: Any, backend: str) -> None:
        self._oracle, self._backend = dump_value(oracle), backend
        self.policy: OraclePolicy | None = None

    def bind(
        self,
        space: Mapping[str, Any],
        num_samples: int,
        seed: int,
        *,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
    ) -> OraclePolicy:
        """Return the policy. The space is empty: the oracle has its own."""
        os.environ.setdefault(BACKEND, self._backend)
        self.policy = OraclePolicy(unpickling.loads(self._oracle), num_samples)
        return self.policy

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "policy": None}


class OraclePolicy:
    """Asks ``oracle``. Its trials have their own ids; one that failed may be tried again, as a new trial here.

    ``failure``: why the oracle ends the search before its time.
    """

    def __init__(self, oracle: Any, num_samples: int) -> None:
        self.oracle = oracle
        oracle.verbose = 0  # the driver has its own display
        self.failure: RuntimeError | None = None
        self._limit = None if num_samples == -1 else num_samples
        self._under_way: dict[str, Any] = {}

    @property
    def total(self) -> int | None:
        """The oracle's limit, if none of its trials is tried again and the command line has none."""
        most = None if self.oracle.max_retries_per_trial else self.oracle.max_trials
        return most if self._limit is None else min(self._limit, most or self._limit)

    def suggest(self, index: int, trial_id: str) -> Suggestion | Wait | Exhausted:
        """Ask for a trial."""
        if self.failure is not None or (self._limit is not None and index >= self._limit):
            return EXHAUSTED
        trial = self.oracle.create_trial(trial_id)
        if trial.status == "IDLE":
            return WAIT
        if trial.status == "STOPPED":
            # A trial that is under way may fail and be tried again, or state parameters that the oracle does not know.
            return WAIT if self._under_way else EXHAUSTED
        self._under_way[trial_id] = trial
        values = dict(trial.hyperparameters.values)
        return Suggestion({**values, PRIVATE: {"trial": trial.get_state()}}, values)

    def replay(self, index: int, trial_id: str, config: Mapping[str, Any]) -> None:
        """Let the oracle make a trial again that it has made before, unless its own files say that it is there."""
        from keras_tuner.engine.trial import Trial

        made = Trial.from_state(config[PRIVATE]["trial"])
        oracle = self.oracle
        known = oracle.trials.get(made.trial_id)
        if known is None:
            known = oracle.create_trial(trial_id)
        if known.status in ("IDLE", "STOPPED") or known.trial_id != made.trial_id:
            log.warning("hpctune: KerasTuner's oracle does not repeat trial %s; it goes on without it", made.trial_id)
            oracle.trials[made.trial_id] = known = made
        if made.trial_id in oracle._retry_queue:
            oracle._retry_queue.remove(made.trial_id)
        if known.status != "COMPLETED":
            known.hyperparameters.values = made.hyperparameters.values
            known.status = "RUNNING"
        oracle.ongoing_trials[trial_id] = known
        self._under_way[trial_id] = known

    def on_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Nothing changes: the last result says it all."""

    def on_pause(self, trial_id: str) -> None:
        """Nothing changes."""

    def on_unpause(self, trial_id: str) -> None:
        """Nothing changes."""

    def on_complete(self, trial_id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """Tell the oracle, once."""
        trial = self._under_way.pop(trial_id, None)
        if trial is None:
            return
        told = (result or {}).get(PRIVATE)
        if told is None or error:
            trial.status = "INVALID" if error else "FAILED"
            trial.message = f"It failed; see error.txt of trial {trial_id}." if error else "It was stopped early."
        else:
            for metrics, step in told["updates"]:
                self.oracle.update_trial(trial.trial_id, metrics, step=step)
            from keras_tuner import HyperParameters

            trial.hyperparameters = HyperParameters.from_config(told["hyperparameters"])
            trial.status = "COMPLETED"
        try:
            self.oracle.end_trial(trial)
        except RuntimeError as failure:
            self.failure = failure
