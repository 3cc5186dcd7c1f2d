"""``ray.exceptions``."""

from __future__ import annotations

import traceback


class RayError(Exception):
    """Base of these exceptions."""


class RayTaskError(RayError):
    """A remote function, or a method of an actor, has raised ``cause``. What ``ray.get`` raises is of its class too."""

    def __init__(self, function_name: str = "", traceback_str: str = "", cause: BaseException | None = None) -> None:
        super().__init__(f"{function_name} failed: {cause!r}\n{traceback_str}".rstrip())
        self.function_name, self.traceback_str, self.cause = function_name, traceback_str, cause

    def as_instanceof_cause(self) -> BaseException:
        """An exception that ``except`` finds by the class of the cause, and as RayTaskError."""
        kind = type(self.cause)
        if self.cause is None or issubclass(RayTaskError, kind):
            return self
        try:
            both = type(f"RayTaskError({kind.__name__})", (RayTaskError, kind), {"__init__": RayTaskError.__init__})
            error: BaseException = both(self.function_name, self.traceback_str, self.cause)
        except TypeError:  # the class allows no other bases
            return self
        error.args = (str(self),)
        return error

    @classmethod
    def of(cls, name: str, error: BaseException) -> RayTaskError:
        """For ``error``, which has just been caught."""
        return cls(name, "".join(traceback.format_exception(error)), error)


class RayActorError(RayError):
    """The actor is dead."""


class ActorDiedError(RayActorError):
    """The actor is dead."""


class ActorUnavailableError(RayActorError):
    """Never raised here: actors live in the same process."""


class WorkerCrashedError(RayError):
    """Never raised here: a task runs in the same process."""


class TaskCancelledError(RayError):
    """Never raised here: a task is over when its call returns."""


class GetTimeoutError(RayError, TimeoutError):
    """Never raised here: a value is there when its reference is."""


class ObjectLostError(RayError):
    """The value of a reference cannot be read any more."""


class ObjectStoreFullError(RayError):
    """Never raised here: there is no object store."""


class OutOfMemoryError(RayError):
    """Never raised here: Slurm ends a job that uses too much memory."""


class RaySystemError(RayError):
    """Never raised here."""


class RuntimeEnvSetupError(RayError):
    """Never raised here: jobs use the environment of the driver."""


class NodeDiedError(RayError):
    """Never raised here: Slurm ends the jobs of a lost node."""


__all__ = [name for name, value in list(globals().items()) if isinstance(value, type) and issubclass(value, RayError)]
