"""A worker in a container ends with the program that entered it."""

from __future__ import annotations

import signal
import subprocess
import sys

from hpctune.worker.container import PROGRAM_VARIABLE

WORKER = """
import os, time
from hpctune.worker.container import end_with_program
end_with_program()
print(os.environ.get("HPCTUNE_CONTAINER_PID"), flush=True)
time.sleep(60 if {waits} else 0)
"""


def _worker(pid: str, *, waits: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER.format(waits=waits)]
    variables = {"PATH": "/usr/bin", PROGRAM_VARIABLE: pid}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_it_is_killed_when_the_program_is() -> None:
    program = subprocess.Popen(["sleep", "60"])
    worker = _worker(str(program.pid), waits=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "None\n"  # what the user's code starts follows nothing
    assert worker.poll() is None
    program.kill()
    program.wait()
    assert worker.wait(30) == -signal.SIGKILL
    worker.stdout.close()


def test_it_goes_on_without_a_program_that_it_can_see() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    for pid in (str(gone.pid), "", "x", "0"):
        worker = _worker(pid, waits=False)
        assert worker.communicate(timeout=30)[0] == "None\n"
        assert worker.returncode == 0
