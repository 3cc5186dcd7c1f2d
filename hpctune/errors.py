"""Every exception of hpctune.

The wording of a message is: what went wrong, with which thing, why, and the command or change that helps.
"""

from __future__ import annotations

from collections.abc import Sequence


class TuneError(Exception):
    """Base of every error that hpctune raises on purpose.

    ``TuneError("Trials did not complete", [...])`` is what :func:`hpctune.run` raises when trials failed.
    """

    exit_code = 1

    def __str__(self) -> str:
        if len(self.args) == 2 and isinstance(self.args[1], (list, tuple)):
            return f"{self.args[0]}: {', '.join(map(str, self.args[1]))}"
        return super().__str__()


class UsageError(TuneError, ValueError):
    """The user asked for something impossible: a bad option, config file, directory or value."""

    exit_code = 2


class ConfigFileError(UsageError):
    """A config file cannot be read, run, or defines nothing to tune."""


class NotAnExperimentError(UsageError):
    """A directory was named that holds no experiment."""


class ResumeError(UsageError):
    """A resume was asked for that is not possible."""


class NotYetSupportedError(UsageError):
    """A named capability that this version does not have."""


class MissingPackageError(UsageError, ImportError):
    """A package that something needs is not installed, or cannot be imported."""


class DriverAliveError(TuneError):
    """Another driver holds the lease of the experiment."""

    exit_code = 1


class LeaseLostError(TuneError):
    """Another driver took this experiment over; this one must not write any more."""


class StorageError(TuneError):
    """The experiment directory cannot be read or written."""


class JournalError(StorageError):
    """The journal holds something that this version cannot understand."""


class CheckpointError(StorageError):
    """A checkpoint is missing or incomplete."""


class ClusterError(TuneError):
    """Base of what a cluster may answer. Each subclass says whether trying again can help."""


class RequestRejectedError(ClusterError):
    """The cluster will never accept this request: wrong partition or account, more than any node has."""


class ClusterUnavailableError(ClusterError):
    """The cluster gave no answer. Nothing follows from it: neither acceptance nor absence of any job."""


class TrainableError(TuneError):
    """A trainable cannot be used: not callable, wrong signature, not picklable, unknown name."""


class SearchSpaceError(UsageError):
    """A search space cannot be sampled or converted."""


class MetricError(UsageError):
    """A metric or stop key that no result contains."""

    def __init__(self, key: str, known: Sequence[str], where: str) -> None:
        self.key, self.known = key, tuple(known)
        call = f"hpctune.report({key}=...)" if key.isidentifier() else f"hpctune.report({{{key!r}: ...}})"
        super().__init__(
            f"{where} '{key}' was never reported. Reported were: {', '.join(sorted(known)) or 'nothing'}. "
            f"Report it with {call}, or use one of those."
        )

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.key, self.known, str(self).split(" '", 1)[0])
