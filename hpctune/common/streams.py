"""The standard streams of this process."""

from __future__ import annotations

import os
import sys

_STREAMS = (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_WRONLY), ("stderr", "w", os.O_WRONLY))


def open_missing() -> None:
    """Open standard streams that are closed or missing (a daemon, ``>&-``) on the null device.

    If a descriptor below 3 stayed free, the next file to be opened would get it, and be written to by every print.
    """
    for descriptor, (_, _, flags) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, flags)  # the lowest free descriptor: this one
            os.set_inheritable(opened, True)
    for descriptor, (name, mode, _) in enumerate(_STREAMS):
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
