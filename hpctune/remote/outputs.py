"""A file that a command there writes, and that is wanted here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from hpctune.errors import RemoteClusterError, UsageError
from hpctune.remote.session import Session


@contextlib.contextmanager
def brought(session: Session, target: str) -> Iterator[str]:
    """The name of a file there, to be written in the block; afterwards it is brought to ``target`` here."""
    path = Path(target).expanduser().absolute()
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no directory {path.parent}.")
    there = f".out-{os.urandom(6).hex()}{path.suffix}"
    yield there
    here = str(session.call("look")["here"])
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    with contextlib.closing(session.connection.files()) as files:
        try:
            files.get(f"{here}/{there}", str(draft))
            draft.replace(path)
            files.remove(f"{here}/{there}")
        except FileNotFoundError:
            return  # the command has said why it wrote nothing
        except OSError as error:
            raise RemoteClusterError(f"{path} could not be brought here: {error.strerror or error}.") from error
        finally:
            draft.unlink(missing_ok=True)
