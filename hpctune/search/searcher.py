"""``Searcher``: the class to derive a search algorithm from."""

from __future__ import annotations

import copy
import inspect
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hpctune.common import unpickling
from hpctune.common.checks import check_mode
from hpctune.common.kept_state import before_use, forget_use, show_use, without_use
from hpctune.errors import UsageError

UNRESOLVED_SEARCH_SPACE = (
    "The search space of the experiment holds hpctune domains or grids (such as '{par}'), but {cls} was made with a "
    "space of its own. Give the space either to {cls}({space}=...) or to the experiment, not both."
)
UNDEFINED_SEARCH_SPACE = (
    "{cls} has no search space. Give it {cls}({space}=...), or give the experiment one that holds hpctune domains."
)
UNDEFINED_METRIC_MODE = (
    "{cls} has metric {metric!r} and mode {mode!r}, but needs both. Give metric= and mode= to it or to the experiment."
)


class Searcher:
    """Suggests configurations and learns from results. Derive from it and define ``suggest``.

    A searcher is called from the driver only, by one thread. On resume it is not asked again what it once suggested:
    see :meth:`on_suggestion_replayed`.

    Args:
        metric: The reported value to optimize, or a list of them; None: the experiment's.
        mode: "min" or "max", or a list of as many as there are metrics.
        max_concurrent: The same as a ConcurrencyLimiter around the searcher, as in Ray Tune 0.x; None: no limit.
        use_early_stopped_trials: Of Ray Tune 0.x. They are always used, so False is an error.

    Raises:
        UsageError: if a mode is neither, or metrics and modes differ in number.
    """

    FINISHED = "FINISHED"
    """What ``suggest`` returns when it will never suggest anything again."""
    CKPT_FILE_TMPL = "searcher-state-{}.pkl"
    CKPT_FILE: ClassVar[str] = CKPT_FILE_TMPL.format("default")
    _used: Searcher | None = None
    stated_limit: int | None = None
    """How many trials may be under way at a time, if the constructor was told."""

    def __init__(
        self,
        metric: str | Sequence[str] | None = None,
        mode: str | Sequence[str] | None = None,
        max_concurrent: int | None = None,
        use_early_stopped_trials: bool | None = None,
    ) -> None:
        _check_objective(metric, mode)
        if use_early_stopped_trials is not None and not use_early_stopped_trials:
            raise UsageError("use_early_stopped_trials=False cannot be had: results of stopped trials always count.")
        self.stated_limit = max_concurrent
        self._metric = metric
        self._mode = mode

    @property
    def metric(self) -> str | Sequence[str] | None:
        """The reported value that is optimized."""
        return self._metric

    @property
    def mode(self) -> str | Sequence[str] | None:
        """Whether the metric is to be small ("min") or large ("max")."""
        return self._mode

    def set_search_properties(
        self,
        metric: str | Sequence[str] | None,
        mode: str | Sequence[str] | None,
        config: Mapping[str, Any],
        **spec: Any,
    ) -> bool:
        """Take over the experiment's metric, mode and search space, if the searcher has none of its own.

        Returns:
            Whether the searcher will search ``config``. The base class does not, and returns False: then the space
            may hold constants only.
        """
        _check_objective(metric, mode)
        self._metric = self._metric if self._metric is not None else metric
        self._mode = self._mode if self._mode is not None else mode
        return False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration to try as a nested dict, None if there is none now, or FINISHED."""
        raise NotImplementedError(f"{type(self).__name__} must define suggest(trial_id).")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Learn from an intermediate result."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn from a trial's last result. It is None if there was none, and if the trial failed (``error``)."""

    def on_suggestion_replayed(self, trial_id: str, config: dict[str, Any]) -> None:
        """Take note, on resume, that ``suggest(trial_id)`` returned ``config`` before the interruption.

        It is called instead of ``suggest``, and ``on_trial_result`` and ``on_trial_complete`` are called again for
        what was reported, all in the original order. ``config`` is the trial's whole configuration: what was
        suggested, with the constants of the search space. Define it if your searcher needs to know it. The base
        class does nothing.
        """

    def on_pause(self, trial_id: str) -> None:
        """Take note that a trial was paused."""

    def on_unpause(self, trial_id: str) -> None:
        """Take note that a paused trial goes on."""

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a configuration that was evaluated elsewhere. Not every searcher can."""
        raise NotImplementedError(f"{type(self).__name__} cannot learn from points that were evaluated elsewhere.")

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Learn from finished trials.

        Args:
            trials_or_analysis: An ExperimentAnalysis, a ResultGrid, a trial, or several trials.
            metric: Which of their last results to learn from.

        Raises:
            UsageError: if no trial reported the metric.
        """
        trials = getattr(trials_or_analysis, "trials", trials_or_analysis)
        usable = 0
        for trial in trials if isinstance(trials, Iterable) else [trials]:
            result = getattr(trial, "last_result", None) or getattr(trial, "metrics", None) or {}
            if metric in result:
                failed = str(getattr(trial, "status", "")) == "ERROR" or bool(getattr(trial, "error", None))
                self.add_evaluated_point(dict(trial.config), result[metric], error=failed)
                usable += 1
        if not usable:
            raise UsageError(f"None of the trials reported '{metric}', so there is nothing to learn from them.")

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limit how many trials may be under way at a time. Returns whether the searcher sees to that itself."""
        return False

    def fresh(self) -> Searcher:
        """Return a copy for one experiment, which leaves this searcher as it is.

        Raises:
            UsageError: if it cannot be copied.
        """
        try:
            self._used = copy.deepcopy(before_use(self))
        except Exception as error:
            raise UsageError(
                f"{type(self).__name__} cannot be copied: {type(error).__name__}: {error}. Each driver needs a copy of "
                "its own. Make what cannot be copied when it is first needed, in suggest or on_suggestion_replayed."
            ) from error
        return self._used

    def show_what_was_learned(self) -> None:
        """Take over the attributes of the copy that the newest experiment has used. The next one starts from what was
        there before."""
        if self._used is not None:
            used, self._used = self._used, None
            show_use(self, used)

    @property
    def used(self) -> Searcher:
        """The copy that the newest experiment in this process used, with what it has learned; else the searcher."""
        return self if self._used is None else self._used

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in without_use(self.__dict__).items() if name != "_used"}

    def get_state(self) -> dict[str, Any]:
        """Return everything that :meth:`set_state` needs: by default, all attributes."""
        return Searcher.__getstate__(self)

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that :meth:`get_state` returned."""
        self._used = None
        forget_use(self)
        self.__dict__.update(state)

    def save(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Write the state to a file, which appears complete or not at all. After an experiment: with what it taught."""
        import cloudpickle

        path = Path(checkpoint_path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        partial.touch(0o600)
        partial.write_bytes(cloudpickle.dumps(self.used.get_state()))
        partial.replace(path)

    def restore(self, checkpoint_path: str | os.PathLike[str]) -> None:
        """Go on from a file that :meth:`save` wrote. Raises UsageError if there is none, or others can write it."""

        path = Path(checkpoint_path)
        if not path.is_file():
            raise UsageError(
                f"There is no searcher state at '{path}'. Give the file that {type(self).__name__}.save wrote."
            )
        status = path.stat()
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UsageError(
                f"'{path}' belongs to somebody else, or can be written by others: loading it could run their code. If "
                "you trust it, make a copy of your own (cp), and: chmod go-w FILE"
            )
        self.set_state(unpickling.loads(path.read_bytes()))

    def save_to_dir(self, checkpoint_dir: str | os.PathLike[str], session_str: str = "default") -> None:
        """Write the state to a directory, one file for each session name."""
        self.save(Path(checkpoint_dir) / self.CKPT_FILE_TMPL.format(session_str))

    def restore_from_dir(self, checkpoint_dir: str | os.PathLike[str]) -> None:
        """Go on from the newest state in a directory. Raises UsageError if there is none."""
        pattern = self.CKPT_FILE_TMPL.format("*")
        found = sorted(Path(checkpoint_dir).glob(pattern), key=lambda path: path.stat().st_mtime_ns)
        if not found:
            raise UsageError(f"The directory '{checkpoint_dir}' holds no searcher state ({pattern}).")
        self.restore(found[-1])


class SearcherWrapper(Searcher):
    """A searcher that passes everything on to another one. Derive from it to change some of it.

    Raises:
        UsageError: if ``searcher`` is no Searcher.
    """

    def __init__(self, searcher: Searcher) -> None:
        if not isinstance(searcher, Searcher):
            raise UsageError(f"{type(self).__name__} takes a Searcher to wrap, not {searcher!r}.")
        self.searcher = searcher
        super().__init__()

    def fresh(self) -> Searcher:
        made = super().fresh()
        assert isinstance(made, SearcherWrapper)
        made.searcher = self.searcher.fresh()
        return made

    def show_what_was_learned(self) -> None:
        self.searcher.show_what_was_learned()
        if self._used is not None:
            used, self._used = self._used, None
            show_use(self, used, but=("searcher",))

    @property
    def metric(self) -> str | Sequence[str] | None:
        return self.searcher.metric

    @property
    def mode(self) -> str | Sequence[str] | None:
        return self.searcher.mode

    def set_search_properties(
        self,
        metric: str | Sequence[str] | None,
        mode: str | Sequence[str] | None,
        config: Mapping[str, Any],
        **spec: Any,
    ) -> bool:
        return offer_search_properties(self.searcher, metric, mode, config, **spec)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        return self.searcher.suggest(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.searcher.on_trial_complete(trial_id, result=result, error=error)

    def on_suggestion_replayed(self, trial_id: str, config: dict[str, Any]) -> None:
        self.searcher.on_suggestion_replayed(trial_id, config)

    def on_pause(self, trial_id: str) -> None:
        self.searcher.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        self.searcher.on_unpause(trial_id)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        self.searcher.add_evaluated_point(parameters, value, error, pruned, intermediate_values)

    def get_state(self) -> dict[str, Any]:
        own = {name: value for name, value in self.__getstate__().items() if name != "searcher"}
        return {**own, "searcher": self.searcher.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        own = dict(state)
        self.searcher.set_state(own.pop("searcher"))
        super().set_state(own)


def offer_search_properties(
    searcher: Searcher,
    metric: str | Sequence[str] | None,
    mode: str | Sequence[str] | None,
    config: Mapping[str, Any],
    **spec: Any,
) -> bool:
    """Call ``searcher.set_search_properties``, without ``spec`` if it is defined without further keywords."""
    parameters = inspect.signature(searcher.set_search_properties).parameters.values()
    takes_spec = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return searcher.set_search_properties(metric, mode, config, **(spec if takes_spec else {}))


def _check_objective(metric: str | Sequence[str] | None, mode: str | Sequence[str] | None) -> None:
    modes = [mode] if isinstance(mode, str) else list(mode or ())
    for each in modes:
        check_mode(each)
    listed = [value for value in (metric, mode) if value is not None and not isinstance(value, str)]
    if metric is not None and mode is not None and (len(listed) == 1 or len({len(each) for each in listed}) > 1):
        raise UsageError(f"There must be one mode for each metric, but metric={metric!r} and mode={mode!r}.")
