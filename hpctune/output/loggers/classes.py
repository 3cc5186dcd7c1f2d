"""Loggers as classes of which each trial gets an instance: Ray Tune's loggers before there were callbacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hpctune.errors import UsageError
from hpctune.output.callback import Callback, LoggerCallback
from hpctune.output.loggers.csv import CSVLoggerCallback
from hpctune.output.loggers.json import JsonLoggerCallback
from hpctune.output.loggers.tensorboard import TBXLoggerCallback

if TYPE_CHECKING:
    from hpctune.trial import Trial


class Logger:
    """Base of loggers of one trial: override :meth:`_init` and :meth:`on_result`. They run in the driver.

    ``config``: the trial's configuration; ``logdir``: its directory; ``trial``: the Trial.
    """

    writes: ClassVar[tuple[type[LoggerCallback], ...]] = ()
    """The default loggers whose files it writes in their place."""

    def __init__(self, config: Mapping[str, Any], logdir: str, trial: Trial | None = None) -> None:
        self.config, self.logdir, self.trial = config, logdir, trial
        self._init()

    def _init(self) -> None:
        """Called by the constructor."""

    def on_result(self, result: dict[str, Any]) -> None:
        """The trial has reported."""
        raise NotImplementedError(f"{type(self).__name__} must define on_result(self, result).")

    def update_config(self, config: Mapping[str, Any]) -> None:
        """The trial goes on with another configuration."""

    def flush(self) -> None:
        """The trial has saved, or goes on from a checkpoint: write what was held back."""

    def close(self) -> None:
        """The trial is over, or the driver leaves."""


class NoopLogger(Logger):
    """Writes nothing."""

    def on_result(self, result: dict[str, Any]) -> None:
        """Nothing."""


class _FileLogger(Logger):
    """Writes the file of a default logger: for classes that are derived from it."""

    def _init(self) -> None:
        if self.trial is None:
            raise UsageError(f"{type(self).__name__} needs the trial: {type(self).__name__}(config, logdir, trial).")
        self._writer = self.writes[0]()
        if not self.trial.last_result:
            self._writer.log_trial_start(self.trial)

    def on_result(self, result: dict[str, Any]) -> None:
        assert self.trial is not None
        self._writer.log_trial_result(int(result.get("training_iteration", 0)), self.trial, result)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        assert self.trial is not None
        self._writer.log_trial_end(self.trial)
        self._writer.close()


class JsonLogger(_FileLogger):
    """``result.json``, ``params.json`` and ``params.pkl``."""

    writes = (JsonLoggerCallback,)

    def update_config(self, config: Mapping[str, Any]) -> None:
        assert isinstance(self._writer, JsonLoggerCallback)
        assert self.trial is not None
        self._writer.update_config(self.trial, config)


class CSVLogger(_FileLogger):
    """``progress.csv``."""

    writes = (CSVLoggerCallback,)


class TBXLogger(_FileLogger):
    """The events file of TensorBoard."""

    writes = (TBXLoggerCallback,)


class UnifiedLogger(Logger):
    """Several loggers as one. ``loggers``: their classes; None: those of the default files."""

    writes = (JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback)

    def __init__(
        self,
        config: Mapping[str, Any],
        logdir: str,
        trial: Trial | None = None,
        loggers: Sequence[type[Logger]] | None = None,
    ) -> None:
        self._classes = (JsonLogger, CSVLogger, TBXLogger) if loggers is None else tuple(loggers)
        super().__init__(config, logdir, trial)

    def _init(self) -> None:
        self._loggers = [kind(self.config, self.logdir, self.trial) for kind in self._classes]

    def on_result(self, result: dict[str, Any]) -> None:
        for logger in self._loggers:
            logger.on_result(result)

    def update_config(self, config: Mapping[str, Any]) -> None:
        for logger in self._loggers:
            logger.update_config(config)

    def flush(self) -> None:
        for logger in self._loggers:
            logger.flush()

    def close(self) -> None:
        for logger in self._loggers:
            logger.close()


class LegacyLoggerCallback(LoggerCallback):
    """Gives each trial an instance of each of ``logger_classes``, and calls them."""

    def __init__(self, logger_classes: Iterable[type[Logger]]) -> None:
        self.logger_classes = list(logger_classes)
        self._of_trials: dict[str, list[Logger]] = {}

    def writes(self, kind: type[LoggerCallback]) -> bool:
        """Whether one of the classes writes the files of the default logger ``kind``."""
        return any(kind in one.writes for one in self.logger_classes)

    def _loggers(self, trial: Trial) -> list[Logger]:
        if trial.trial_id not in self._of_trials:
            made = [kind(trial.config, trial.local_path, trial) for kind in self.logger_classes]
            self._of_trials[trial.trial_id] = made
        return self._of_trials[trial.trial_id]

    def log_trial_start(self, trial: Trial) -> None:
        self._loggers(trial)

    def log_trial_restore(self, trial: Trial) -> None:
        for logger in self._loggers(trial):
            if trial.config != logger.config:
                logger.config = trial.config
                logger.update_config(trial.config)
            logger.flush()

    def log_trial_save(self, trial: Trial) -> None:
        for logger in self._loggers(trial):
            logger.flush()

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        for logger in self._loggers(trial):
            logger.on_result(result)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        for logger in self._of_trials.pop(trial.trial_id, []):
            logger.close()

    def close(self) -> None:
        while self._of_trials:
            for logger in self._of_trials.popitem()[1]:
                logger.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_of_trials": {}}


def logger_callbacks(loggers: object) -> list[Callback]:
    """``loggers=`` of earlier versions of Ray Tune as callbacks: classes of loggers, and callbacks.

    Raises UsageError for anything else.
    """
    if loggers is None:
        return []
    if not isinstance(loggers, (list, tuple)):
        raise UsageError(f"loggers must be a list of classes, not {loggers!r}. Today's name is callbacks=[...].")
    made, classes = list[Callback](), list[type[Logger]]()
    for each in loggers:
        if isinstance(each, Callback):
            made.append(each)
        elif isinstance(each, type) and issubclass(each, Callback):
            made.append(each())
        elif each in (JsonLogger, CSVLogger, TBXLogger):
            made.append(each.writes[0]())
        elif isinstance(each, type) and issubclass(each, Logger):
            classes.append(each)
        else:
            raise UsageError(f"loggers must contain classes derived from hpctune.logger.Logger, not {each!r}.")
    return [*made, LegacyLoggerCallback(classes)] if classes else made
