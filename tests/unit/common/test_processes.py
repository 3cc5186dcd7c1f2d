"""The end of a process of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, pickle, threading, time
from hpctune.checkpoint import Checkpoint
from hpctune.common.processes import exit_now

kept, given = Checkpoint.from_dict({"a": 1}), Checkpoint.from_dict({"a": 2})
pickle.dumps(given)
if (child := os.fork()) == 0:
    exit_now(0)
os.waitpid(child, 0)
print(os.path.isdir(kept.path), kept.path, given.path)
threading.Thread(target=time.sleep, args=(60,)).start()
exit_now(3)
"""


def test_it_waits_for_no_thread_and_leaves_no_temporary_checkpoint(tmp_path: Path) -> None:
    command, variables = [sys.executable, "-c", PROGRAM], {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 3, done.stderr
    there, kept, given = done.stdout.split()
    assert there == "True", "a forked child removes nothing"
    assert [str(path) for path in tmp_path.iterdir()] == [given], "copies of a pickled one use its directory"
    assert kept.startswith(str(tmp_path))


ENDS = """
import atexit, multiprocessing, os, sys, time
from hpctune.common import processes

atexit.register(lambda: print("delivered", flush=True))
if sys.argv[1] == "hanging":
    processes.EXIT_FUNCTIONS_S = 0.2
    atexit.register(time.sleep, 60)
if sys.argv[1] == "forked" and os.fork():
    os.wait()
    os._exit(0)
if sys.argv[1] == "forked":
    processes.forget_exit_functions()
    atexit.register(lambda: print("the child's own", flush=True))
multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,)).start()
processes.exit_now(3)
"""


@pytest.mark.parametrize(
    ("how", "printed", "code"), [("quick", "delivered", 3), ("hanging", "", 3), ("forked", "the child's own", 0)]
)
def test_functions_for_the_end_are_called_for_a_limited_time(how: str, printed: str, code: int, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run([sys.executable, "-c", ENDS, how], stdout=out, timeout=50, check=False)
    assert ((tmp_path / "out").read_text().strip(), done.returncode) == (printed, code)
