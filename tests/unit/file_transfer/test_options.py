"""File transfer as an option: what is accepted, what is refused, and the script that the job gets."""

from __future__ import annotations

import json
import pickle
import shlex
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune
from hpctune.cluster.choice import ClusterChoice, reopen_cluster
from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.script import array_text, script_text
from hpctune.cluster.slurm.transfer import explained
from hpctune.errors import NotYetSupportedError, UsageError
from hpctune.file_transfer import ends
from hpctune.file_transfer.options import parse, split
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobRequest, JobState, JobStatus
from hpctune.model.resources import Resources

STORAGE = Path("/shared/my results")
JOBS = STORAGE / "exp" / "jobs"
TRANSFER = tune.FileTransfer(host="me@login1:2222", directory="/scratch/$USER", poll_s=0.5)


def request(trial: str = "trial", resources: object = None) -> JobRequest:
    place = STORAGE / "exp" / trial
    command = ("python", "-u", "-m", "hpctune.worker", str(STORAGE / "exp"), trial, "3")
    return JobRequest(
        Tag("e1", trial, 3), trial, command, Resources.parse(resources), place / "stdout", place / "stderr"
    )


def options(**more: Any) -> SlurmOptions:
    return SlurmOptions(file_transfer=TRANSFER, **more)


def test_the_job_names_nothing_that_its_node_does_not_have() -> None:
    lines = script_text(request(), options(), JOBS).splitlines()
    directives = [line for line in lines if line.startswith("#SBATCH")]
    assert not any(str(STORAGE) in line for line in directives)
    assert {"#SBATCH --output=/dev/null", "#SBATCH --error=/dev/null"} <= set(directives)
    words = shlex.split(lines[-1])
    python = words.index("-u") - 1
    assert words[:2] == ["exec", "srun"]
    assert not any(word.startswith("--output") for word in words[:python])
    there = str(STORAGE / "exp")
    assert words[python + 1 :] == [
        "-u", "-m", "hpctune.file_transfer", "me@login1:2222", there, "trial", "3", f"{there}/trial/stdout",
        f"{there}/trial/stderr", "0.5",
    ]  # fmt: skip


def test_each_element_of_an_array_has_a_directory_of_its_own() -> None:
    text = array_text([request("a"), request("b")], "key", options(), JOBS)
    assert "/scratch/$USER/hpctune-job-" in text
    assert '"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"-XXXXXX' in text
    assert text.count("exec >>") == 1, "nothing is written to the trial's directory"
    assert text.count("hpctune.file_transfer") == 2


def test_the_script_makes_the_directory_or_says_so(tmp_path: Path) -> None:
    made = SlurmOptions(file_transfer=tune.FileTransfer(directory="$PLACE/of jobs".replace(" ", "_")), use_srun=False)
    script = script_text(request(), made, JOBS).splitlines()
    end = next(number for number, line in enumerate(script) if line.startswith("export HPCTUNE_JOB_DIR"))
    text = "\n".join([*script[: end + 1], 'echo "$HPCTUNE_JOB_DIR"; stat -c %a "$HPCTUNE_JOB_DIR"'])
    env = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "7", "PLACE": str(tmp_path)}
    subprocess.run(["bash", "-c", text], env=env, check=True)
    (here,) = (tmp_path / "of_jobs").iterdir()
    assert here.name.startswith("hpctune-job-7-")
    assert (here / "stdout").read_text() == f"{here}\n700\n"
    for wrong in ({"PLACE": "/proc/none"}, {}):
        given = {name: value for name, value in env.items() if name != "PLACE"} | wrong
        done = subprocess.run(["bash", "-c", text], env=given, check=False, capture_output=True)
        assert done.returncode == ends.NO_DIRECTORY


def test_other_programs_of_a_cluster_work_where_they_are() -> None:
    """Such as the job of hpctune doctor."""
    place = STORAGE / "check"
    asked = JobRequest(Tag("e1", "t", 1), "x", ("python", "x.py"), Resources(), place / "stdout", place / "stderr")
    text = script_text(asked, options(), JOBS)
    assert "hpctune-job" not in text
    assert f"--output={place}/stdout" in text.replace("\\", "").replace("'", "")


def test_a_container_sees_the_directory_of_the_node() -> None:
    container = tune.Apptainer(image="docker://a")
    given = SlurmOptions(container=container, file_transfer=tune.FileTransfer(directory="/scratch"))
    line = script_text(request(), given, JOBS).splitlines()[-1]
    assert "apptainer exec --bind=/scratch:/scratch docker://a python3 -u -m hpctune.file_transfer" in line
    with pytest.raises(UsageError, match="must be without variables, not '/scratch/\\$USER'"):
        options(container=container)


@pytest.mark.parametrize("more", [{"nodes": 2}, {"ntasks": 2}])
def test_a_trial_on_several_nodes_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(NotYetSupportedError, match=r"SlurmOptions\(nodes=1\)"):
        script_text(request(), options(**more), JOBS)
    with pytest.raises(NotYetSupportedError, match="may get several"):
        array_text([request()], "key", options(**more), JOBS)
    script_text(request(), options(nodes=1, ntasks=2), JOBS)
    bundles = tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 2}])
    with pytest.raises(NotYetSupportedError, match="may get several"):
        script_text(request(resources=bundles), options(), JOBS)


def test_workers_that_stay_are_refused() -> None:
    for how in (lambda: options(workers=4), lambda: ClusterChoice("slurm", options()).with_workers(4)):
        with pytest.raises(NotYetSupportedError, match="file_transfer serves jobs of one trial each"):
            how()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"directory": "scratch"}, "must be an absolute path of the node"),
        ({"directory": "/a b"}, "without blanks"),
        ({"directory": "/$(rm -rf x)"}, "must be an absolute path"),
        ({"directory": '/a"; true; "'}, "must be an absolute path"),
        ({"directory": 3}, "must be an absolute path"),
        ({"host": "me@"}, "must be a name of ~/.ssh/config"),
        ({"host": "-oProxyCommand=x"}, "must be a name of ~/.ssh/config"),
        ({"host": "login1:port"}, "must be a name of ~/.ssh/config"),
        ({"poll_s": 0}, "poll_s"),
        ({"hots": "x"}, "has no option 'hots'. Did you mean 'host'"),
        ("login1", "file_transfer must be HOST:DIRECTORY"),
        ("a b:/scratch", "must be a name of ~/.ssh/config"),
        (3, "file_transfer must be FileTransfer("),
    ],
)
def test_impossible_values(given: object, words: str) -> None:
    with pytest.raises(UsageError) as error:
        SlurmOptions(file_transfer=given)  # type: ignore[arg-type]
    assert words in str(error.value)


def test_hosts() -> None:
    assert split("login1") == ("login1", None, None)
    assert split("me@10.0.0.1:2222") == ("10.0.0.1", "me", 2222)
    assert split("[::1]:22") == ("::1", None, 22)
    assert tune.FileTransfer().server == socket.gethostname()


def test_it_is_stored_and_read_again() -> None:
    """In an experiment's definition, for a resume; also a container."""
    container = tune.Podman(image="a", binds=["/data"])
    given = SlurmOptions(file_transfer={"host": "login1", "directory": "/scratch", "poll-s": 3}, container=container)
    stored = json.loads(json.dumps(ClusterChoice("slurm", given).to_json()))
    assert reopen_cluster("slurm", stored).options == given
    assert pickle.loads(pickle.dumps(given)) == given
    assert parse(TRANSFER) is TRANSFER
    assert parse(None) is None


def test_as_one_word_of_the_command_line() -> None:
    assert parse("login1:/scratch/$USER") == tune.FileTransfer(host="login1", directory="/scratch/$USER")
    assert parse("me@login1:2222:$TMPDIR") == tune.FileTransfer(host="me@login1:2222", directory="$TMPDIR")
    assert parse(":/tmp") == tune.FileTransfer(directory="/tmp")
    assert parse("[::1]:22:/tmp") == tune.FileTransfer(host="[::1]:22", directory="/tmp")


SHOWN = "JobId=7 JobName=x UserId=me(1) JobState=FAILED ExitCode={}:0 BatchHost=n1 NumNodes=1"


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        (
            ends.UNREACHABLE,
            JobState.NODE_FAIL,
            "n1 could not transfer files to me@login1:2222 for too long: see n1:/scratch/$USER",
        ),
        (ends.REFUSED, JobState.FAILED, "srun -w n1 ssh -o BatchMode=yes"),
        (ends.NO_DIRECTORY, JobState.FAILED, "n1 has no directory /scratch/$USER and cannot make it"),
        (1, JobState.FAILED, "exit code 1; if its stderr is empty, see n1:/scratch/$USER/hpctune-job-7-*/stderr"),
        (0, JobState.FAILED, "NonZeroExitCode"),
    ],
)
def test_the_end_of_a_job_in_words(code: int, state: JobState, words: str) -> None:
    job = JobStatus("7", Tag("e1", "t", 1), JobState.FAILED, "NonZeroExitCode")
    told = explained(job, TRANSFER, SHOWN.format(code))
    assert told.state is state
    assert words in told.reason
