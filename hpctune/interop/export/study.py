"""An experiment as an Optuna study, which is brought up to date by each export."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpctune.analysis.load import LoadedExperiment
from hpctune.analysis.pictures.trials import State, state_of
from hpctune.errors import UsageError
from hpctune.interop.export.axes import Axes, simple
from hpctune.interop.export.target import Progress
from hpctune.interop.optuna.records import MARK
from hpctune.interop.optuna.replica import quiet
from hpctune.model.rows import NOT_SHOWN, flatten, number
from hpctune.storage.values import plain
from hpctune.trial import Trial

Objectives = Sequence[tuple[str, str]]
"""Metrics and their modes."""
_STATES = {
    State.COMPLETED: TrialState.COMPLETE,
    State.STOPPED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
    State.RUNNING: TrialState.RUNNING,
    State.WAITING: TrialState.WAITING,
}


@dataclass(slots=True)
class Written:
    """What an export has done: how many trials are new, have changed, and were as they are."""

    added: int = 0
    changed: int = 0
    same: int = 0
    replaced: bool = False
    """The study was deleted first, because trials that it had as finished have gone on."""


class StudyExport:
    """Writes one experiment to one study.

    Args:
        storage: An Optuna storage.
        name: The study's name. It is made if there is none.
        force: Write the study again if a trial of it is finished there, but has gone on since.
    """

    def __init__(self, storage: optuna.storages.BaseStorage, name: str, *, force: bool = False) -> None:
        self._storage, self.name, self._force = storage, name, force

    def write(self, loaded: LoadedExperiment, objectives: Objectives, progress: Progress) -> Written:
        """Bring the study up to date.

        Raises:
            UsageError: if the study has other directions, or cannot be brought up to date without being written again.
        """
        directions = [StudyDirection.MINIMIZE if m == "min" else StudyDirection.MAXIMIZE for _, m in objectives]
        wanted = _trials(loaded, objectives)
        study = self._open(loaded, objectives, directions)
        known = _own(study, loaded)
        if any(not _can_become(known[mark], trial) for mark, trial in wanted.items() if mark in known) or _clash(
            study, known, wanted
        ):
            self._discard(study, known)
            study, known = self._open(loaded, objectives, directions), {}
            written = Written(replaced=True)
        else:
            written = Written()
        for count, (mark, trial) in enumerate(wanted.items(), 1):
            progress(count, len(wanted))
            if mark not in known:
                self._storage.create_new_trial(study._study_id, trial)
                written.added += 1
            elif self._update(known[mark], trial):
                written.changed += 1
            else:
                written.same += 1
        return written

    def _open(self, loaded: LoadedExperiment, objectives: Objectives, directions: list[StudyDirection]) -> optuna.Study:
        with quiet():
            study = optuna.create_study(
                storage=self._storage, study_name=self.name, directions=directions, load_if_exists=True
            )
        if study.directions != directions:
            there = ", ".join("min" if d is StudyDirection.MINIMIZE else "max" for d in study.directions)
            asked = ", ".join(f"{metric} {mode}" for metric, mode in objectives)
            raise UsageError(
                f"The study {self.name!r} is there with the modes {there}, which do not fit {asked}. Name another one: "
                "--name NAME"
            )
        _set_attrs(study, loaded, objectives)
        return study

    def _discard(self, study: optuna.Study, known: Mapping[str, FrozenTrial]) -> None:
        strangers = len(study.get_trials(deepcopy=False)) - len(known)
        if strangers:
            raise UsageError(
                f"Trials that the study {self.name!r} has as finished have gone on since, and a finished trial cannot "
                f"change. The study has {strangers} trials of others, so it is left as it is. Name another one: "
                "--name NAME"
            )
        if not self._force:
            raise UsageError(
                f"Trials that the study {self.name!r} has as finished have gone on since, and a finished trial cannot "
                "change. Write the study again with --force (notes on it are lost), or name another one: --name NAME"
            )
        optuna.delete_study(study_name=self.name, storage=self._storage)

    def _update(self, known: FrozenTrial, wanted: FrozenTrial) -> bool:
        """Whether something was to be changed."""
        if known.state.is_finished():
            return False
        storage, trial_id, changed = self._storage, known._trial_id, False
        for name in wanted.params.keys() - known.params.keys():
            distribution = wanted.distributions[name]
            inside = distribution.to_internal_repr(wanted.params[name])
            storage.set_trial_param(trial_id, name, inside, distribution)
            changed = True
        for step, value in wanted.intermediate_values.items():
            if not _equal(known.intermediate_values.get(step), value):
                storage.set_trial_intermediate_value(trial_id, step, value)
                changed = True
        for name, attr in wanted.user_attrs.items():
            if known.user_attrs.get(name) != attr:
                storage.set_trial_user_attr(trial_id, name, attr)
                changed = True
        if known.state is not wanted.state:
            if known.state is TrialState.WAITING and wanted.state.is_finished():
                storage.set_trial_state_values(trial_id, TrialState.RUNNING)  # so that it has a start
            storage.set_trial_state_values(trial_id, wanted.state, wanted.values)
            changed = True
        return changed


def _set_attrs(study: optuna.Study, loaded: LoadedExperiment, objectives: Objectives) -> None:
    metrics = [metric for metric, _ in objectives]
    if study.metric_names != metrics:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(metrics)
    about = {"experiment": loaded.paths.root.name, "directory": str(loaded.paths.root)}
    origin = loaded.spec.origin
    about |= {name: origin[name] for name in ("command", "host", "user", "searcher", "git") if name in origin}
    scheduler = origin.get("scheduler")
    about |= {"scheduler": scheduler["name"]} if isinstance(scheduler, Mapping) and "name" in scheduler else {}
    for name, value in about.items():
        if study.user_attrs.get(name) != value:
            study.set_user_attr(name, value)


def _trials(loaded: LoadedExperiment, objectives: Objectives) -> dict[str, FrozenTrial]:
    """Every trial as Optuna has them, by mark."""
    axes = Axes(loaded)
    return {_mark(loaded, trial): _frozen(loaded, trial, axes, objectives) for trial in loaded.trials}


def _mark(loaded: LoadedExperiment, trial: Trial) -> str:
    return f"{loaded.spec.experiment_id}/{trial.trial_id}"


def _own(study: optuna.Study, loaded: LoadedExperiment) -> dict[str, FrozenTrial]:
    """The trials of the experiment that the study has, by mark."""
    start = f"{loaded.spec.experiment_id}/"
    marked = {str(t.system_attrs.get(MARK, "")): t for t in study.get_trials(deepcopy=False)}
    return {mark: trial for mark, trial in marked.items() if mark.startswith(start)}


def _frozen(loaded: LoadedExperiment, trial: Trial, axes: Axes, objectives: Objectives) -> FrozenTrial:
    value = trial.value
    state, values = _outcome(trial, objectives)
    params = axes.params(trial)
    made = create_trial(
        state=state,
        values=values,
        params=params,
        distributions={name: axes.distributions[name] for name in params},
        user_attrs=_user_attrs(trial, axes),
        system_attrs={MARK: _mark(loaded, trial)},
        intermediate_values=_intermediate(loaded, trial, objectives),
    )
    began = value.started_at if value.started_at is not None else value.added_at
    if state is not TrialState.WAITING:
        made.datetime_start = datetime.fromtimestamp(began)
    if state.is_finished():
        made.datetime_complete = datetime.fromtimestamp(value.ended_at or began)
    return made


def _outcome(trial: Trial, objectives: Objectives) -> tuple[TrialState, list[float] | None]:
    """Optuna's state, and the values. A trial that came to its end without a value counts as failed."""
    state = _STATES[state_of(trial.value)]
    if state is TrialState.WAITING and trial.value.started_at is not None:
        state = TrialState.RUNNING  # it is paused, or waits for its next attempt
    found = [number(trial.value.last, metric) for metric, _ in objectives]
    values = [value for value in found if value is not None and not math.isnan(value)]
    whole = len(values) == len(found)
    if state is TrialState.COMPLETE and not whole:
        return TrialState.FAIL, None
    return state, values if whole and state in (TrialState.COMPLETE, TrialState.PRUNED) else None


def _user_attrs(trial: Trial, axes: Axes) -> dict[str, Any]:
    value = trial.value
    about: dict[str, Any] = {
        "trial_id": value.trial_id,
        "name": value.name,
        "state": state_of(value).value,
        "directory": trial.local_path,
        "job_id": trial.job_id,
        "node": trial.location,
        "reason": value.reason or value.stop,
        "error": str(value.error) if value.error is not None else None,
    }
    last = {name: plain(v) for name, v in flatten({k: v for k, v in value.last.items() if k not in NOT_SHOWN}).items()}
    constants = {f"config/{name}": constant for name, constant in axes.constants(trial).items()}
    shown = {name: simple(v) for name, v in {**last, **about, **constants}.items()}
    return {name: v for name, v in shown.items() if v not in (None, "")}


def _intermediate(loaded: LoadedExperiment, trial: Trial, objectives: Objectives) -> dict[int, float]:
    """The values of the metric by training iteration. Optuna has none of trials with several metrics."""
    if len(objectives) > 1:
        return {}
    found: dict[int, float] = {}
    for count, counted in enumerate(loaded.rows(trial.trial_id), 1):
        value = number(counted.row, objectives[0][0])
        if value is not None:
            found[int(number(counted.row, "training_iteration") or count)] = value
    return found


def _can_become(known: FrozenTrial, wanted: FrozenTrial) -> bool:
    """Whether the trial in a storage can be made like ``wanted``."""
    if known.state.is_finished():
        return _same(known, wanted)
    gone = known.intermediate_values.keys() - wanted.intermediate_values.keys()
    back = known.state is TrialState.RUNNING and wanted.state is TrialState.WAITING
    changed = any(wanted.params.get(name, _NOTHING) != value for name, value in known.params.items())
    return not (gone or back or changed)


_NOTHING = object()


def _same(known: FrozenTrial, wanted: FrozenTrial) -> bool:
    return (
        known.state is wanted.state
        and _all_equal(dict(enumerate(known.values or ())), dict(enumerate(wanted.values or ())))
        and known.params == wanted.params
        and _all_equal(known.intermediate_values, wanted.intermediate_values)
    )


def _all_equal(ours: Mapping[int, float], theirs: Mapping[int, float]) -> bool:
    return ours.keys() == theirs.keys() and all(_equal(ours[key], theirs[key]) for key in ours)


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or math.isclose(one, other, rel_tol=1e-12) or (math.isnan(one) and math.isnan(other))


def _clash(study: optuna.Study, known: Mapping[str, FrozenTrial], wanted: Mapping[str, FrozenTrial]) -> bool:
    """Whether the study has a parameter with a distribution that a new trial's does not fit."""
    there: dict[str, Any] = {}
    for trial in study.get_trials(deepcopy=False):
        there |= trial.distributions
    for mark, trial in wanted.items():
        if mark in known:
            continue
        for name, distribution in trial.distributions.items():
            try:
                check_distribution_compatibility(there.get(name, distribution), distribution)
            except ValueError:
                return True
    return False


def study_names(experiments: Sequence[LoadedExperiment]) -> list[str]:
    """A name for the study of each experiment: its own, or its path if several have the same."""
    names = [loaded.paths.root.name for loaded in experiments]
    pairs = zip(names, experiments, strict=True)
    return [name if names.count(name) == 1 else str(loaded.paths.root) for name, loaded in pairs]
