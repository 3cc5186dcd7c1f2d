"""Whether memory ran out, by what Slurm says in this process's stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from hpctune.worker.memory import MemoryWatch
watch = MemoryWatch()
before = watch.ran_out()
print(sys.argv[1], file=sys.stderr, flush=True)
print(before, watch.ran_out(), MemoryWatch().ran_out())
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("slurmstepd-n2: error: StepId=2.0 exceeded memory limit (225624064 > 157286400), being killed", True),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks were OOM Killed.", True),
        ("my program: out of memory", False),
    ],
)
def test_what_slurm_says_from_now_on(tmp_path: Path, line: str, expected: bool) -> None:
    path = tmp_path / "stderr"
    path.write_text("slurmstepd: error: StepId=1.0 exceeded memory limit\n")  # of an earlier attempt
    with path.open("a") as stderr:
        command = [sys.executable, "-c", PROGRAM, line]
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True).stdout
    assert said == f"False {expected} False\n"


def test_a_pipe_is_left_alone() -> None:
    command = [sys.executable, "-c", PROGRAM, "slurmstepd: error: exceeded memory limit"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False False False\n"
    assert done.stderr == "slurmstepd: error: exceeded memory limit\n"
