"""``SshOptions`` and ``Workstation``: machines that run trials without a batch system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

from hpctune.cluster.options import LocalOptions
from hpctune.common.checks import check_positive
from hpctune.common.named_state import pickled_by_name
from hpctune.common.options import option_values
from hpctune.errors import UsageError
from hpctune.file_transfer.options import checked_code, split

_EXAMPLE = "SshOptions(hosts=['ws1', 'ann@ws2'])"
_Made = TypeVar("_Made")


@pickled_by_name
@dataclass(frozen=True, slots=True, kw_only=True)
class Workstation:
    """One machine of :class:`SshOptions`.

    - ``host``: a name of ``~/.ssh/config``, or ``[USER@]ADDRESS[:PORT]``.
    - ``cpus``, ``gpus``: how many to use there, or the ids of GPUs (default: all that the machine has).
    - ``python``, ``directory``: as in SshOptions, for this machine.
    """

    host: str
    cpus: int | None = None
    gpus: int | Sequence[int | str] | None = None
    python: str | None = None
    directory: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.host, str):
            raise UsageError(f"A workstation's host must be a text such as 'ann@ws1', not {self.host!r}.")
        split(self.host)
        object.__setattr__(self, "gpus", LocalOptions(cpus=self.cpus, gpus=self.gpus).gpus)

    def to_json(self) -> dict[str, Any]:
        """What differs from the defaults."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@pickled_by_name
@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """Options of trials that run as processes of other machines, which are reached by ssh.

    The machines need no Slurm, no directory in common, and no way back to this one: files travel over the connections
    that the driver makes. Raises UsageError for impossible values.

    - ``hosts``: the machines: texts such as ``"ann@ws1"``, :class:`Workstation`, or dicts of its values.
    - ``python``: the interpreter there, which has hpctune (default: this interpreter's path if it is there, else
      python3); ``setup``: shell lines that are run before it; ``env``: variables of the trials.
    - ``directory``: a directory there for the files of jobs (default: the one for temporary files). ``~`` and variables
      are replaced there.
    - ``kill_wait_s``: seconds from SIGTERM to SIGKILL when a job is cancelled (default 30).
    - ``lost_after_s``: a machine that cannot be reached for so many seconds has lost its jobs: their trials go on on
      others (default 3600).
    - ``patience_s``: for how many seconds a job keeps what it has not yet brought back while no driver is connected
      (default 86400, a day).
    - ``code``: files and directories of the project that a job gets, besides those that it gets anyway;
      ``code_limit``: their size, in bytes, at most (default 100 MB; 0: nothing of the project is brought).
    - ``poll_s`` and ``quiet_poll_s``: shortest and longest interval between two looks, in seconds (default 1 and 5).
    """

    hosts: Sequence[str | Workstation | Mapping[str, Any]]
    python: str | None = None
    setup: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None
    kill_wait_s: float = 30.0
    lost_after_s: float = 3600.0
    patience_s: float = 86400.0
    poll_s: float = 1.0
    quiet_poll_s: float = 5.0
    code: Sequence[str] = ()
    code_limit: int | None = None

    doorbell: ClassVar[bool] = False
    """No datagram reaches the driver."""

    def __post_init__(self) -> None:
        if isinstance(self.hosts, (str, Workstation)) or not isinstance(self.hosts, Sequence) or not self.hosts:
            raise UsageError(f"SshOptions: hosts must be a list of machines, such as {_EXAMPLE}, not {self.hosts!r}.")
        made = tuple(_workstation(one) for one in self.hosts)
        names = [one.host for one in made]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"SshOptions: hosts names {', '.join(twice)} twice. Each machine runs many trials.")
        checked = LocalOptions(python=self.python, setup=self.setup, env=self.env)
        code = checked_code("SshOptions", self.code, self.code_limit)
        for name, value in (("hosts", made), ("setup", checked.setup), ("env", checked.env), ("code", code)):
            object.__setattr__(self, name, value)
        for name in ("kill_wait_s", "lost_after_s", "patience_s", "poll_s", "quiet_poll_s"):
            check_positive(name, getattr(self, name))

    @property
    def workstations(self) -> tuple[Workstation, ...]:
        """The machines, each with the options that it does not set itself."""
        return tuple(
            replace(one, python=one.python or self.python, directory=one.directory or self.directory)
            for one in self.hosts
            if isinstance(one, Workstation)
        )

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> SshOptions:
        """Options from a dict. Raises UsageError for invalid values and unknown names."""
        return _made(cls, options)

    def merge(self, changes: Mapping[str, Any]) -> SshOptions:
        """These options with ``changes`` applied. Raises UsageError as :meth:`from_mapping` does."""
        return _made(SshOptions, {f.name: getattr(self, f.name) for f in fields(self)} | dict(changes))


def _workstation(given: Any) -> Workstation:
    if isinstance(given, Workstation):
        return given
    return _made(Workstation, given) if isinstance(given, Mapping) else Workstation(host=given)


def _made(kind: type[_Made], options: Mapping[str, Any]) -> _Made:
    values = option_values(kind, options, kind.__name__)
    needed = {"Workstation": "host", "SshOptions": "hosts"}[kind.__name__]
    if needed not in values:
        raise UsageError(f"{kind.__name__} needs {needed}, for example {_EXAMPLE}.")
    return kind(**values)
