"""The program: finds the operation, and turns errors into answers."""

from __future__ import annotations

import json
import os
import sys
import tarfile

from . import content, output, tasks
from .common import answer

OPERATIONS = {
    f.__name__: f
    for f in (
        content.look, content.put, content.join, content.assemble, content.use, tasks.start, output.follow,
        output.follow_driver,
    )
}  # fmt: skip


def main() -> int:
    """The program."""
    os.umask(0o077)
    body = sys.stdin.buffer
    try:
        line = body.readline()
        if not line.endswith(b"\n"):
            return 1  # the connection broke before all was said
        OPERATIONS[sys.argv[1]](json.loads(line), body)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        answer(error=error.strerror or str(error), path=error.filename or os.getcwd(), number=error.errno)
        return 1
    except (ValueError, tarfile.TarError) as error:
        answer(error=str(error), path="", number=None)
        return 1
    return 0
