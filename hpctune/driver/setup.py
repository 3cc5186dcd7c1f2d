"""The user's objects that run in the driver, in addition to the spec. They are pickled for a later resume."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpctune.common.checks import check_directory_name
from hpctune.core.policies import Policies
from hpctune.errors import TuneError, UsageError
from hpctune.mirror.options import MirrorOptions
from hpctune.model import events as e
from hpctune.model.resources import Resources
from hpctune.model.spec import ExperimentSpec
from hpctune.model.trial import Trial
from hpctune.output.callback import Callback
from hpctune.schedulers.base import SchedulerPolicy
from hpctune.search.base import SearchAlgorithm, SearchPolicy, Suggestion
from hpctune.stopper import Stopper
from hpctune.storage import permissions
from hpctune.storage.layout import RESERVED, ExperimentPaths
from hpctune.trial import Trial as TrialView

MAX_DIRNAME = 110
MAX_NAME = 200
"""Bytes of a directory's name at most. Filesystems allow 255, and temporary names are longer than the final ones."""
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.+@")


@dataclass(frozen=True, slots=True)
class SearchBinding:
    """Binds the user's search algorithm to the search space."""

    algorithm: SearchAlgorithm
    space: Mapping[str, Any]
    metric: str | Sequence[str] | None = None
    mode: str | Sequence[str] | None = None

    def __call__(self, num_samples: int, seed: int) -> SearchPolicy:
        return self.algorithm.bind(self.space, num_samples, seed, metric=self.metric, mode=self.mode)


@dataclass(slots=True)
class DriverSetup:
    """The user's objects that a driver needs.

    ``bind_search(num_samples, seed)`` returns a new searcher. ``resources``: a request, or a function from a trial's
    config to a request. The two creators take the public Trial and return a string. ``mirror``: where a copy of the
    experiment is kept up to date.
    """

    bind_search: Callable[[int, int], SearchPolicy]
    scheduler: SchedulerPolicy
    stopper: Stopper | None = None
    callbacks: Sequence[Callback] = ()
    resources: Any = None
    trial_name_creator: Callable[[TrialView], str] | None = None
    trial_dirname_creator: Callable[[TrialView], str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mirror: MirrorOptions | None = None

    def policies(self, spec: ExperimentSpec, num_samples: int) -> Policies:
        """New policies. The caller must pass them the journal from its start."""
        return Policies(self.bind_search(num_samples, spec.seed), self.scheduler, self.stopper)

    def resources_for(self, config: Mapping[str, Any]) -> Resources:
        """The resources of a trial with this config."""
        if not callable(self.resources):
            return Resources.parse(self.resources)
        try:
            request = self.resources(config)
        except Exception as error:
            raise TuneError(f"resources_per_trial failed for the configuration {dict(config)!r}: {error!r}.") from error
        return Resources.parse(request)


class TrialNamer:
    """Makes the TrialAdded event for a suggestion: name, directory, resources."""

    def __init__(
        self,
        paths: ExperimentPaths,
        spec: ExperimentSpec,
        setup: DriverSetup,
        tag_of: TagOf,
        taken: Container[str] = (),
    ) -> None:
        self._paths, self._spec, self._setup, self._tag_of, self._taken = paths, spec, setup, tag_of, taken

    def __call__(self, index: int, trial_id: str, suggestion: Suggestion) -> e.TrialAdded:
        tag = self._tag_of(index, suggestion.evaluated)
        base = f"{self._spec.trainable}_{trial_id}"
        draft = Trial(
            trial_id=trial_id,
            index=index,
            name=base,
            dirname=safe_name(f"{base}_{tag.replace('=', '-')}"),
            tag=tag,
            config=suggestion.config,
            evaluated=suggestion.evaluated,
            resources=self._setup.resources_for(suggestion.config),
            added_at=0.0,
        )
        view = TrialView(draft, self._paths, self._spec)
        name = _created("trial_name_creator", self._setup.trial_name_creator, view) or draft.name
        dirname = _created("trial_dirname_creator", self._setup.trial_dirname_creator, view) or draft.dirname
        if "\0" in name:
            raise UsageError(f"trial_name_creator must return text without null characters, not {name!r}.")
        check_directory_name("What trial_dirname_creator returns", dirname, MAX_NAME)
        if dirname in self._taken or dirname in RESERVED or permissions.exists(self._paths.at(dirname)):
            dirname = f"{dirname[: MAX_DIRNAME - len(trial_id) - 1]}_{trial_id}"
        return e.TrialAdded(
            trial_id=trial_id,
            index=index,
            name=name,
            dirname=dirname,
            tag=tag,
            config=suggestion.config,
            evaluated=suggestion.evaluated,
            resources=draft.resources,
            restore=self._spec.restore,
        )


TagOf = Callable[[int, Mapping[str, Any]], str]
"""Takes the index and the varied parameters; returns the experiment tag, such as ``3_lr=0.01``."""


def safe_name(text: str, more: str = "") -> str:
    """``text`` as a directory name: short, with only characters that are safe everywhere, and those in ``more``."""
    return "".join(c if c in _SAFE or c in more else "_" for c in text)[:MAX_DIRNAME].rstrip("._")


def ray_dirname(trial: TrialView) -> str:
    """Ray Tune's name of a trial's directory, such as ``train_1f3a9_00002_2_lr=0.5,width=8``.

    Use it as ``trial_dirname_creator`` for programs that read these names. By default the names hold no ``=`` and no
    ``,``, because both have a meaning in the arguments of many programs.
    """
    return safe_name(f"{trial.trainable_name}_{trial.trial_id}_{trial.experiment_tag}", "=,")


def _created(what: str, creator: Callable[[TrialView], str] | None, view: TrialView) -> str | None:
    if creator is None:
        return None
    try:
        return str(creator(view))
    except Exception as error:
        raise TuneError(f"{what} failed for trial {view}: {error!r}.") from error
