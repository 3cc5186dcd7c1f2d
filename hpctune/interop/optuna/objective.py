"""The objective in a job: it gets a trial of a study in memory, and what it tells goes to the driver as results."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from hpctune.common import unpickling
from hpctune.errors import StorageError
from hpctune.interop.optuna.records import distribution_of, params_in, params_out, record_of
from hpctune.interop.optuna.replica import Definition, Replica, ReplicaStorage
from hpctune.model import events as e
from hpctune.model.rows import PRIVATE
from hpctune.storage import atomic, permissions, values
from hpctune.storage.follow import JournalFollower
from hpctune.storage.layout import ExperimentPaths
from hpctune.usercode.pickling import dump_value
from hpctune.worker.context import get_trial_dir, get_trial_id, report_row

REFRESH_S = 1.0
"""Seconds between two looks into the journal."""
PARAMS, SAMPLER = "optuna-params.jsonl", "optuna-sampler.pkl"
"""Files in a trial's directory: the parameters that were chosen so far, and the sampler's state after that."""

_current: Replica | None = None


class CurrentStudy:
    """Stands in a job for the user's study: the copy that the running trial has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or _current is None:
            raise AttributeError(name)
        return getattr(_current.study, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return CurrentStudy, ()


class StudyObjective:
    """The trainable: the user's objective with a copy of the study. ``catch``: of ``optimize``."""

    follows_journal = True
    """Jobs that do not see the experiment's directory get a copy of the journal that grows with it."""

    def __init__(
        self, objective: Callable[..., Any], definition: Definition, catch: tuple[type[Exception], ...], name: str
    ) -> None:
        self.objective, self.definition, self.catch = objective, definition, catch
        self.__name__ = name

    def __call__(self, config: Mapping[str, Any]) -> None:
        global _current
        run = _Run(self.definition, str(get_trial_dir()), str(get_trial_id()))
        _current = run.replica
        failure: BaseException | None = None
        value: Any = None
        state: TrialState | None = None
        try:
            value = self.objective(run.trial)
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except Exception as error:
            state, failure = TrialState.FAIL, error
        finally:
            _current = None
        run.finish(value, state, failure)
        if failure is not None and not isinstance(failure, self.catch):
            raise failure
        if failure is not None:
            traceback.print_exception(failure)


class _Run:
    """One run of one trial: ``trial`` is what the objective gets."""

    def __init__(self, definition: Definition, directory: str, trial_id: str) -> None:
        self.directory, self.trial_id = Path(directory), trial_id
        self._storage = storage = _RunStorage(self)
        self.replica = Replica(definition, storage)
        self._journal = JournalFollower(ExperimentPaths(self.directory.parent).journal)
        self._dirnames: dict[str, str] = {}
        self._payload: Mapping[str, Any] = {}
        self._looked_at = float("-inf")
        self._counted = 0
        self.refresh()
        self._wait_for_itself()
        self._show_others()
        sampler = RunSampler(self._sampler(copy.deepcopy(definition.sampler)), self._payload.get("relative"))
        self.replica.study.sampler = sampler
        self._sampler_used = sampler
        internal = self.replica.ids[trial_id]
        earlier = self.replica.reached.get(trial_id, {})
        self._counted = max([*(len(read) for read in self._earlier_runs()), self._counted])
        """Results that earlier runs have reported: the last one of this run must count after them."""
        own = storage.get_trial(internal)
        storage.forget_values(internal)
        for name, (value, distribution) in _chosen(self.directory / PARAMS).items():
            if name not in own.params:
                storage.set_trial_param(internal, name, value, distribution)
        storage.own = internal
        self._attrs = self.replica.study_attrs()
        self.trial = RunTrial(self.replica.study, internal, self, earlier)

    def _wait_for_itself(self) -> None:
        """The journal says that this trial was made. On a shared filesystem that may take a moment to be seen."""
        deadline = time.monotonic() + 60
        while self.trial_id not in self.replica.ids and time.monotonic() < deadline:
            time.sleep(0.2)
            self._looked_at = float("-inf")
            self.refresh()
        if self.trial_id not in self.replica.ids:
            raise StorageError(
                f"The journal in {self.directory.parent} does not say that trial {self.trial_id} exists."
            )

    def _earlier_runs(self) -> list[list[str]]:
        """The lines of this trial's run files: that of this run has one, its claim."""
        found = []
        for path in self.directory.glob("run-*.jsonl"):
            with contextlib.suppress(OSError):
                found.append(path.read_text().splitlines())
        return found

    def refresh(self) -> None:
        """Take over what has happened since the last look, at most once a second."""
        if time.monotonic() - self._looked_at < REFRESH_S:
            return
        replica = self.replica
        for recorded in self._journal.new():
            event = recorded.event
            if isinstance(event, e.TrialAdded) and PRIVATE in event.config:
                self._dirnames[event.trial_id] = event.dirname
                replica.added(event.trial_id, event.config[PRIVATE])
                if event.trial_id == self.trial_id:
                    self._payload = event.config[PRIVATE]
            elif isinstance(event, e.ResultReported) and event.verdict is e.Verdict.COUNTED:
                own, row = event.run.trial_id == self.trial_id, event.row
                if own and self._storage.own is None:
                    self._counted = max(self._counted, int(row.get("training_iteration") or 0))
                if not own or self._storage.own is None:
                    replica.heard(event.run.trial_id, row.get("step"), row.get("intermediate"), row.get(PRIVATE))
            elif isinstance(event, e.TrialEnded) and event.trial_id != self.trial_id:
                replica.ended(event.trial_id)
        self._looked_at = time.monotonic()

    def _show_others(self) -> None:
        """Let the sampler see what trials that run now have chosen."""
        for trial_id, internal in self.replica.ids.items():
            known = self.replica.storage.get_trial(internal)
            if trial_id == self.trial_id or known.state.is_finished():
                continue
            for name, (value, distribution) in _chosen(
                self.directory.parent / self._dirnames[trial_id] / PARAMS
            ).items():
                if name not in known.params:
                    self.replica.storage.set_trial_param(internal, name, value, distribution)

    def _sampler(self, given: BaseSampler) -> BaseSampler:
        """The sampler as the trial before has left it; else with other random numbers than any other trial."""
        follows = self._payload.get("sampler")
        if follows is not None:
            before = [self._dirnames[follows]] if follows else []
            for directory in [self.directory, *(self.directory.parent / name for name in before)]:
                if permissions.exists(str(directory / SAMPLER)):
                    return unpickling.loads(values.trusted_bytes(directory / SAMPLER))  # type: ignore[no-any-return]
            if not before:
                return given
        given.reseed_rng()
        return given

    def chosen(self, name: str, value: float, distribution: BaseDistribution) -> None:
        """Keep a parameter that the sampler has just chosen, so that a run after a preemption has it, too."""
        if self._payload.get("sampler") is not None:
            atomic.write(self.directory / SAMPLER, dump_value(self._sampler_used.inner), mode=permissions.PRIVATE_FILE)
        external = distribution.to_external_repr(value)
        line = {name: params_out({name: external}, {name: distribution})[name]}
        with (self.directory / PARAMS).open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def intermediate(self, value: float, step: int) -> None:
        """Report an intermediate value."""
        done = len(self.replica.frozen(self.trial_id).intermediate_values)
        report_row(
            {
                "intermediate": value,
                "step": step,
                "training_iteration": done,
                "config": self.replica.frozen(self.trial_id).params,
            }
        )

    def finish(self, value: Any, state: TrialState | None, failure: BaseException | None) -> None:
        """Report how the trial has ended, as ``study.tell`` judges it."""
        study = self.replica.study
        if state is None and value is None:
            state = TrialState.FAIL
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")  # the result says why it failed
            told = study.tell(self.trial, value if state is None else None, state=state)
        record = record_of(told)
        for kind, attrs in self.replica.study_attrs().items():
            new = {name: each for name, each in attrs.items() if self._attrs[kind].get(name) != each}
            record |= {kind: values.plain(new)} if new else {}
        record |= {"stop": True} if study.stopped else {}
        names = self.replica.definition.values
        shown = told.values if told.state is TrialState.COMPLETE else None
        row = dict(zip(names, shown or [float("nan")] * len(names), strict=False))
        if failure is not None:
            row["failure"] = f"{type(failure).__name__}: {failure}"
        elif told.state is TrialState.FAIL:
            row["failure"] = f"the objective returned {value!r}"
            row["failure"] += "".join(f": {each.message}" for each in said[-1:])
        report_row(
            {
                **row,
                "state": told.state.name,
                "training_iteration": max(len(told.intermediate_values), self._counted) + 1,
                "config": told.params,
                PRIVATE: record,
            }
        )


class _RunStorage(ReplicaStorage):
    """The storage of a run. ``own``: the trial whose parameters are kept in a file."""

    def __init__(self, run: _Run) -> None:
        super().__init__()
        self._run = run
        self.own: int | None = None

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        if trial_id == self.own:
            self._run.chosen(param_name, param_value_internal, distribution)

    def forget_values(self, trial_id: int) -> None:
        """Drop a trial's intermediate values: its new run reports its own."""
        trial = self.get_trial(trial_id)
        trial.intermediate_values = {}
        self._set_trial(trial_id, trial)


class RunTrial(optuna.Trial):
    """The trial that the objective gets. ``earlier``: the intermediate values of its earlier runs."""

    def __init__(self, study: optuna.Study, trial_id: int, run: _Run, earlier: Mapping[int, float]) -> None:
        super().__init__(study, trial_id)
        self._run, self._earlier = run, dict(earlier)

    def report(self, value: float, step: int) -> None:
        earlier, self._earlier = self._earlier, {}
        with contextlib.suppress(TypeError, ValueError):
            for before in sorted(each for each in earlier if each < int(step)):  # it goes on from its own checkpoint
                super().report(earlier[before], before)
        reported = len(self._run.replica.frozen(self._run.trial_id).intermediate_values)
        super().report(value, step)
        if len(self._run.replica.frozen(self._run.trial_id).intermediate_values) > reported:
            self._run.intermediate(float(value), int(step))

    def should_prune(self) -> bool:
        with contextlib.suppress(StorageError):  # the next call reads what cannot be read now
            self._run.refresh()
        return super().should_prune()


class RunSampler(BaseSampler):
    """The study's sampler in a job. ``relative``: what the driver has chosen for the parameters that it chooses
    together; None: they are chosen here."""

    def __init__(self, inner: BaseSampler, relative: Mapping[str, Any] | None) -> None:
        self.inner = inner
        self._given = None if relative is None else params_in(relative)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        if self._given is not None:
            return self._given[1]
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._given is not None:
            return self._given[0]
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Was done by the driver."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Will be done by the driver."""

    def reseed_rng(self) -> None:
        self.inner.reseed_rng()


def _chosen(path: Path) -> dict[str, tuple[float, BaseDistribution]]:
    """The parameters in a trial's file, as the storage keeps them. The file may grow meanwhile, or not be there."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return dict(_parsed(lines))


def _parsed(lines: list[str]) -> Iterator[tuple[str, tuple[float, BaseDistribution]]]:
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            for name, (value, distribution) in json.loads(line).items():
                yield name, (value, distribution_of(distribution))
