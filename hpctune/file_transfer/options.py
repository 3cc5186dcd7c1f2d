"""``FileTransfer``: how the files of jobs get to the driver's host and back."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpctune.common.checks import check_positive
from hpctune.common.named_state import pickled_by_name
from hpctune.common.options import option_values
from hpctune.errors import UsageError

_HOST = re.compile(r"(?:(?P<user>[\w.-]+)@)?(?P<name>[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?")
_DIRECTORY = re.compile(r"(?:/|\$)[\w./:${}@+=,-]*")
_TEXT = re.compile(r"(?P<host>.*?):(?P<directory>[/$].*)")
_EXAMPLE = 'FileTransfer(host="login1", directory="/scratch/$USER")'


@pickled_by_name
@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransfer:
    """Jobs get and return their files by SFTP. For nodes that do not see the experiment's directory.

    - ``host``: how a job reaches the host that has the experiment's directory: a name in ``~/.ssh/config``, or
      ``[USER@]ADDRESS[:PORT]``. None: the host on which the driver runs, by its name.
    - ``directory``: a directory of the node for the job's copies. It is made if it is missing. Variables are replaced
      on the node (default ``"${TMPDIR:-/tmp}"``).
    - ``poll_s``: seconds between two looks at the driver's orders (default 2).
    - ``code``: files and directories of the project that a job gets, besides those that it gets anyway;
      ``code_limit``: their size, in bytes, at most (default 100 MB; 0: nothing of the project is brought).

    Raises UsageError for impossible values.
    """

    host: str | None = None
    directory: str = "${TMPDIR:-/tmp}"
    poll_s: float = 2.0
    code: Sequence[str] = ()
    code_limit: int | None = None

    def __post_init__(self) -> None:
        if self.host is not None and not (isinstance(self.host, str) and _HOST.fullmatch(self.host)):
            raise UsageError(
                f"FileTransfer: host must be a name of ~/.ssh/config or [USER@]ADDRESS[:PORT], not {self.host!r}."
            )
        if not isinstance(self.directory, str) or not _DIRECTORY.fullmatch(self.directory):
            raise UsageError(
                f"FileTransfer: directory must be an absolute path of the node, perhaps with variables, without blanks "
                f"and quotes, not {self.directory!r}. For example: {_EXAMPLE}"
            )
        check_positive("FileTransfer: poll_s", self.poll_s)
        object.__setattr__(self, "code", checked_code("FileTransfer", self.code, self.code_limit))

    @property
    def server(self) -> str:
        """The host that jobs connect to, as the user wrote it; if not given, this one."""
        return self.host or socket.gethostname()

    @property
    def varies(self) -> bool:
        """Whether the directory is known only on the node."""
        return "$" in self.directory

    def to_json(self) -> dict[str, Any]:
        """The values, as :func:`parse` reads them."""
        return asdict(self)


def checked_code(where: str, code: object, limit: object) -> tuple[str, ...]:
    """The value of an option ``code``, beside an option ``code_limit``. Raises UsageError."""
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise UsageError(f"{where}: code_limit must be a number of bytes, such as 500_000_000, not {limit!r}.")
    names = [code] if isinstance(code, (str, os.PathLike)) else code
    if not isinstance(names, Sequence) or not all(isinstance(name, (str, os.PathLike)) for name in names):
        raise UsageError(f"{where}: code must be a list of files and directories, such as ['data'], not {code!r}.")
    return tuple(os.path.abspath(os.path.expanduser(name)) for name in names)


def split(server: str) -> tuple[str, str | None, int | None]:
    """Name, user and port of ``[USER@]NAME[:PORT]``. Raises UsageError."""
    found = _HOST.fullmatch(server)
    if found is None:
        raise UsageError(f"{server!r} is not a host: it must be a name of ~/.ssh/config or [USER@]ADDRESS[:PORT].")
    port = found["port"]
    return found["name"].strip("[]"), found["user"], int(port) if port else None


def parse(given: object) -> FileTransfer | None:
    """The value of ``SlurmOptions(file_transfer=)``: a FileTransfer, a mapping of its fields, or ``HOST:DIRECTORY``.

    Raises UsageError.
    """
    if given is None or isinstance(given, FileTransfer):
        return given
    if isinstance(given, str):
        found = _TEXT.fullmatch(given)
        if found is None:
            raise UsageError(
                f"file_transfer must be HOST:DIRECTORY, such as 'login1:/scratch/$USER', or :DIRECTORY for the host on "
                f"which the driver runs, not {given!r}."
            )
        return FileTransfer(host=found["host"] or None, directory=found["directory"])
    if not isinstance(given, Mapping):
        raise UsageError(f"file_transfer must be {_EXAMPLE}, a dict of its values, or HOST:DIRECTORY, not {given!r}.")
    return FileTransfer(**option_values(FileTransfer, given, "file_transfer"))
