"""The program that has put this process into a container, if that is not an ancestor of this process."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading

PROGRAM_VARIABLE = "HPCTUNE_CONTAINER_PID"
"""The process id of the program on the node. Podman's containers are children of a monitor that Slurm does not know."""


def end_with_program() -> None:
    """Kill this process, and those of its group, as soon as the program has ended.

    If Slurm kills a job, it kills ``podman run`` and not what runs in the container. Without effect if the job has no
    such program, or if this process cannot see it.
    """
    given = os.environ.pop(PROGRAM_VARIABLE, "")
    with contextlib.suppress(OSError, ValueError):
        program = os.pidfd_open(int(given))
        threading.Thread(target=_await_end, args=(program,), daemon=True, name="hpctune-container").start()


def _await_end(program: int) -> None:
    ended = select.poll()
    ended.register(program, select.POLLIN)
    ended.poll()
    os.killpg(0, signal.SIGKILL)
