"""Turns the end of experiments into an exception, a message, or results."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from hpctune.analysis.experiment_analysis import ExperimentAnalysis
from hpctune.common.log import log
from hpctune.errors import TuneError
from hpctune.launch.driven import DrivenExperiment
from hpctune.model.records import ErrorInfo
from hpctune.model.trial import Phase


def conclude(driven: Sequence[DrivenExperiment], raise_on_failed_trial: bool) -> None:
    """Raise an exception if experiments or trials failed, or print a warning if none must be raised.

    An error of a whole experiment is always raised. Failed trials raise ``TuneError("Trials did not complete", [...])``
    if ``raise_on_failed_trial`` is set. With ``fail_fast="raise"``, the error of the first failed trial is raised.
    """
    for one in driven:
        stopping = one.driver.state.stopping
        if stopping is not None and stopping.fatal:
            raise TuneError(stopping.reason)
    failed = [t for one in driven if not one.left for t in one.trials if t.value.phase is Phase.ERROR]
    if not failed:
        return
    error = failed[0].value.error
    if error is not None and any(one.driver.spec.fail_fast == "raise" for one in driven):
        raise trial_error(failed[0].value.name, error)
    if raise_on_failed_trial:
        raise TuneError("Trials did not complete", failed)
    log.warning(f"Trials did not complete: {', '.join(trial.trial_id for trial in failed)}")


def trial_error(name: str, error: ErrorInfo) -> TuneError:
    """A failed trial's error, with its traceback as text.

    If the original exception's type is a built-in one, the error is also an instance of that type.
    """
    text = f"Trial {name} failed: {error}"
    if error.traceback:
        text = f"{text}\n{error.traceback.rstrip()}"
    original = getattr(builtins, error.kind, None)
    if isinstance(original, type) and issubclass(original, Exception):
        try:
            return type(error.kind, (TuneError, original), {"__str__": lambda self: text})(text)  # type: ignore[no-any-return]
        except TypeError:
            pass  # some types, such as UnicodeDecodeError, need other arguments
    return TuneError(text)


def analysis_of(
    driven: Sequence[DrivenExperiment],
    metric: str | Sequence[str] | None = None,
    mode: str | Sequence[str] | None = None,
) -> ExperimentAnalysis:
    """The results of all these experiments."""
    trials = driven[0].trials if len(driven) == 1 else None
    return ExperimentAnalysis(
        [one.paths.root for one in driven], trials=trials, default_metric=metric, default_mode=mode
    )
