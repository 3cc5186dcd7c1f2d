"""Whether files can be transferred at all: tried from here, before anything is made, as a job would do it."""

from __future__ import annotations

from pathlib import Path

from hpctune.errors import RemoteClusterError, UsageError
from hpctune.file_transfer.options import FileTransfer
from hpctune.file_transfer.server import Server

_PAGE = "docs/how-to/file-transfer.md says what a site needs."


def check_transfer(transfer: FileTransfer, storage: Path) -> None:
    """Log in to the host that jobs will use, without the user's agent, and look for ``storage``, the directory of all
    experiments.

    Raises UsageError with what helps. It cannot know what a node's own ``~/.ssh`` has.
    """
    server = Server(transfer.server, agent=False)
    existing = next(path for path in (storage, *storage.parents) if path.is_dir())
    try:
        found = server.exists(str(existing))
    except (RemoteClusterError, OSError) as error:
        raise UsageError(
            f"file_transfer: jobs would not get their files. Tried from here, without an agent, as in a job: {error}\n"
            f"{_PAGE}"
        ) from error
    finally:
        server.close()
    if not found:
        raise UsageError(
            f"file_transfer: {transfer.server} has no directory {existing}, so it is not the host that has the "
            f"experiment. Name the right one: FileTransfer(host=...). {_PAGE}"
        )
