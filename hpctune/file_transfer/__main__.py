"""``python -m hpctune.file_transfer SERVER ROOT TRIAL_DIRNAME ATTEMPT STDOUT STDERR POLL_S [PATIENCE_S]``: the command
of a job.

The environment names the job's own directory, which its script has made.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import time
import traceback
from pathlib import Path

from hpctune.common.log import log, show_messages
from hpctune.common.processes import exit_now
from hpctune.errors import TuneError
from hpctune.file_transfer import ends
from hpctune.file_transfer.job import TransferringJob
from hpctune.file_transfer.place import Place
from hpctune.file_transfer.server import Server
from hpctune.worker.job import restart_count
from hpctune.worker.storage_retry import retry_limit_s

KEPT_S = 3600.0
"""Seconds for which the directory of a job is kept that could not remove it."""


def main() -> None:
    """Run the attempt and exit, even if threads are left."""
    here = Path(os.environ.pop(ends.STAGE_VARIABLE))
    try:
        show_messages()
        code = run(here, *sys.argv[1:])
    except TuneError as error:
        log.error(f"hpctune: error: {error}")
        code = ends.REFUSED
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    exit_now(code)


def run(
    here: Path, server: str, root: str, dirname: str, attempt: str, stdout: str, stderr: str, poll_s: str,
    patience_s: str = "",
) -> int:  # fmt: skip
    """Run the attempt in the directory ``here``. Returns the exit code of the job. Raises TuneError."""
    lock = os.open(here, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    sweep(here.parent)
    place = Place(root, dirname, int(attempt), stdout, stderr, here)
    job = TransferringJob(Server(server), place, restart_count(), float(poll_s), float(patience_s or retry_limit_s()))
    try:
        code = job.run()
    finally:
        job.remove_copies()
        os.close(lock)
    if code not in (ends.UNREACHABLE, ends.REFUSED):
        shutil.rmtree(here, ignore_errors=True)
    return code


def sweep(directory: Path) -> None:
    """Remove the directories of this user's jobs that were killed on this node."""
    for path in directory.glob(f"{ends.STAGE_PREFIX}*"):
        with contextlib.suppress(OSError):
            seen = path.lstat()
            if seen.st_uid != os.geteuid() or time.time() - seen.st_mtime < KEPT_S:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


if __name__ == "__main__":
    main()
