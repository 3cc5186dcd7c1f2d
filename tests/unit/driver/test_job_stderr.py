"""What the driver reads from a failed job's stderr."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.driver.job_stderr import refine_job_end
from hpctune.model import events as e
from hpctune.model.jobs import JobState

FAILED = e.JobEnded("t", 1, JobState.FAILED, "NonZeroExitCode")


@pytest.mark.parametrize(
    "line",
    [
        "slurmstepd-n1: error: StepId=1.0 exceeded memory limit (178872320 > 104857600), being killed",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch. Some of the step tasks have been OOM Killed.",
        "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0",
        "srun: error: n1: task 0: Out Of Memory",
        "[2026-11-28T08:00:01.123] error: Detected 1 oom_kill event in StepId=7.0. OOM Killed.",
    ],
)
def test_out_of_memory(tmp_path: Path, line: str) -> None:
    path = tmp_path / "stderr"
    path.write_text(f"epoch 1\n{line}\nsrun: error: n1: task 0: Killed\n")
    event = refine_job_end(FAILED, path)
    assert (event.state, event.reason) == (
        JobState.OUT_OF_MEMORY, "NonZeroExitCode, exceeded its memory limit"
    )  # fmt: skip


def test_a_trials_own_words_about_memory_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    path.write_text("we will be out of memory soon\n\n")
    event = refine_job_end(FAILED, path)
    assert event.state is JobState.FAILED
    assert event.reason == "NonZeroExitCode, last line of stderr: we will be out of memory soon"


def test_slurms_words_come_first_and_only_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    path.write_bytes(b"x" * 1_000_000 + b"\nsrun: error: n1: task 0: Segmentation fault\n\xff\x1b[2Jnoise\n")
    assert refine_job_end(FAILED, path).reason.endswith(
        "last line of stderr: srun: error: n1: task 0: Segmentation fault"
    )


def test_a_job_whose_output_could_not_be_created(tmp_path: Path) -> None:
    """As on a node that does not see the experiment's directory."""
    reason = refine_job_end(FAILED, tmp_path / "trial" / "stderr").reason
    assert f"perhaps its node does not see {tmp_path / 'trial'}" in reason
    assert "docs/how-to/file-transfer.md" in reason


def test_nothing_to_read_and_other_ends(tmp_path: Path) -> None:
    other = e.JobEnded("t", 1, JobState.FAILED, "exit code 1")
    assert refine_job_end(other, tmp_path / "none") == other, "a trial of a worker, which leaves no empty output"
    assert refine_job_end(FAILED, Path("/dev/null")) == FAILED
    timeout = e.JobEnded("t", 1, JobState.TIMEOUT, "")
    (tmp_path / "stderr").write_text("slurmstepd: error: exceeded memory limit\n")
    assert refine_job_end(timeout, tmp_path / "stderr") == timeout


@pytest.mark.parametrize(
    "words",
    [
        "slurmstepd-n1: error: execve(): /nonexistent/program: No such file or directory",
        "ModuleNotFoundError: No module named 'mine'",
    ],
)
def test_an_exit_code_says_less_than_the_words_before_it(tmp_path: Path, words: str) -> None:
    path = tmp_path / "stderr"
    path.write_text(f"Traceback\n{words}\nsrun: error: n1: task 0: Exited with exit code 2\n")
    assert refine_job_end(FAILED, path).reason.endswith(f"last line of stderr: {words}")
    path.write_text("srun: error: n1: task 0: Exited with exit code 2\n")
    assert refine_job_end(FAILED, path).reason.endswith(
        "last line of stderr: srun: error: n1: task 0: Exited with exit code 2"
    )


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_newer_versions_of_slurm_write_a_time_stamp_and_end_such_a_job_as_cancelled(
    tmp_path: Path, state: JobState
) -> None:
    path = tmp_path / "stderr"
    path.write_text("[2026-11-28T08:00:01] error: StepId=1.0 exceeded memory limit (178872320 > 104857600)\n")
    assert refine_job_end(e.JobEnded("t", 1, state, ""), path).state is JobState.OUT_OF_MEMORY
    path.write_text("[2026-11-28T08:00:01] error: my own out of memory\n")
    assert refine_job_end(e.JobEnded("t", 1, state, ""), path).state is state


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("ModuleNotFoundError: No module named 'hpctune'", "hpctune is not installed for the job's Python"),
        ("/opt/bin/python3: No module named hpctune.worker", "hpctune is not installed for the job's Python"),
        ("/tmp/job.sh: line 20: exec: /gone/bin/python: not found", "the job's Python does not exist on that node"),
        ("slurmstepd-n1: error: execve(): /gone/python3: No such file or directory", "the job's Python does not exist"),
        ("/usr/bin/env: python: No such file or directory", "the job's Python does not exist"),
        ("python: error while loading libraries: libpython3.so.1.0: cannot open shared object file", "libpython"),
    ],
)  # fmt: skip
def test_a_job_that_could_not_begin_is_told_with_what_helps(tmp_path: Path, line: str, hint: str) -> None:
    path = tmp_path / "stderr"
    path.write_text(f"{line}\nsrun: error: n1: task 0: Exited with exit code 1\n")
    reason = refine_job_end(FAILED, path).reason
    assert f"stderr says: {line}" in reason
    assert hint in reason
    assert "SlurmOptions(python=" in reason
