"""Every exception of hpctune.

A message says what went wrong, with which object, why, and which command or change helps.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class TuneError(Exception):
    """Base of every error that hpctune raises on purpose.

    :func:`hpctune.run` raises ``TuneError("Trials did not complete", [...])`` if trials failed.
    """

    exit_code = 1

    def __str__(self) -> str:
        if len(self.args) == 2 and isinstance(self.args[1], (list, tuple)):
            return f"{self.args[0]}: {', '.join(map(str, self.args[1]))}"
        return super().__str__()


def as_instance_of(text: str, kind: type[BaseException]) -> TuneError:
    """A TuneError with this text that is an instance of ``kind`` as well: ``except ZeroDivisionError`` finds it.

    A plain TuneError if no such class can be made.
    """
    if not issubclass(kind, Exception) or issubclass(kind, TuneError):
        return TuneError(text)
    body = {
        "__module__": kind.__module__,
        "__str__": lambda self: text,
        "__reduce__": lambda self: (as_instance_of, (text, kind)),
    }
    try:
        made: TuneError = Exception.__new__(type(kind.__name__, (TuneError, kind), body))
    except TypeError:
        return TuneError(text)
    made.args = (text,)
    return made


class UsageError(TuneError, ValueError):
    """The user gave an invalid option, config file, directory or value."""

    exit_code = 2


class ConfigFileError(UsageError):
    """A config file cannot be read or run, or defines nothing to tune."""


class NotAnExperimentError(UsageError):
    """The named directory does not contain an experiment."""


class ResumeError(UsageError):
    """The requested resume is not possible."""


class NotYetSupportedError(UsageError):
    """This version does not support the requested feature."""


class MissingPackageError(UsageError, ImportError):
    """A required package is not installed, or cannot be imported."""


class DriverAliveError(TuneError):
    """Another driver holds the lease of the experiment."""

    exit_code = 1


class LeaseLostError(TuneError):
    """Another driver took over this experiment; this driver must not write any more."""


class StorageError(TuneError):
    """The experiment directory cannot be read or written."""


class JournalError(StorageError):
    """The journal contains something that this version cannot read."""


class CheckpointError(StorageError):
    """A checkpoint is missing or incomplete."""


class ClusterError(TuneError):
    """Base of the errors of a cluster. The subclass tells whether another try can help."""


class RequestRejectedError(ClusterError):
    """The cluster will never accept this request: wrong partition or account, or more than any node has."""


class ClusterUnavailableError(ClusterError):
    """The cluster did not answer. Nothing is concluded from that about any job."""


class RemoteClusterError(TuneError):
    """A cluster that is reached over ssh refuses the connection, lacks something, or cannot do what was asked."""


class ConnectionLostError(RemoteClusterError):
    """The connection to a cluster broke. Nothing is concluded from that about what happened there."""


class TrainableError(TuneError):
    """A trainable cannot be used: not callable, wrong signature, not picklable, unknown name."""


class RankError(TuneError):
    """A process of a distributed trial failed, or hangs. ``kind``, ``message`` and ``traceback`` are of its error."""

    def __init__(self, kind: str, message: str, traceback: str) -> None:
        super().__init__(message)
        self.kind, self.message, self.traceback = kind, message, traceback

    def __reduce__(self) -> tuple[type[RankError], tuple[str, str, str]]:
        return RankError, (self.kind, self.message, self.traceback)


class SearchSpaceError(UsageError):
    """A search space cannot be sampled or converted."""


def report_call(key: str) -> str:
    """The call that reports ``key``, for messages."""
    return f"hpctune.report({key}=...)" if key.isidentifier() else f"hpctune.report({{{key!r}: ...}})"


class MetricError(UsageError):
    """No result contains the metric or stop key as a number.

    ``known``: the reported keys, in the order in which they are shown. ``value``: what a result holds instead, as text.
    """

    def __init__(self, key: str, known: Sequence[str], where: str, value: str = "") -> None:
        self.key, self.known, self.value = key, tuple(known), value
        self._where = where
        call = report_call(key)
        if value:
            text = f"{where} '{key}' was reported, but {value} is no number. Report a number with {call}."
        elif not known:
            text = (
                f"{where} '{key}' was never reported, nor was any other. Report it with {call}. How the trials stand: "
                "hpctune status"
            )
        else:
            near = difflib.get_close_matches(key, known, 1) or [k for k in known if k.rsplit("/", 1)[-1] == key][:1]
            text = (
                f"{where} '{key}' was never reported. {f'Did you mean {near[0]!r}? ' if near else ''}"
                f"Reported were: {', '.join(known)}. Report it with {call}, or use one of these."
            )
        super().__init__(text)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.key, self.known, self._where, self.value)
