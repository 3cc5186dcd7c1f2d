"""The text of batch scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpctune.cluster.options import SlurmOptions
from hpctune.cluster.slurm.script import script_text
from hpctune.model.ids import Tag
from hpctune.model.jobs import JobRequest
from hpctune.model.resources import PlacementGroupFactory, Resources

WORKER = ("python", "-u", "-m", "hpctune.worker", "/exp", "trial_1", "1")


def request(tmp_path: Path, resources: object = None, **changes: Any) -> JobRequest:
    given = {
        "tag": Tag("e1", "t1", 2),
        "name": "trial 1",
        "command": WORKER,
        "resources": Resources.parse(resources),
        "stdout": tmp_path / "stdout",
        "stderr": tmp_path / "stderr",
    }
    return JobRequest(**{**given, **changes})


def text(asked: JobRequest, tmp_path: Path, **options: Any) -> str:
    return script_text(asked, SlurmOptions(**options), tmp_path / "jobs")


def directives(script: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH --")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_nothing_is_asked_for_that_nobody_asked_for(tmp_path: Path) -> None:
    assert directives(text(request(tmp_path), tmp_path)) == {
        "comment": "hpctune:e1:t1:2",
        "cpus-per-task": "1",
        "error": f"{tmp_path}/stderr",
        "job-name": "'trial 1'",
        "nodes": "1",
        "ntasks-per-node": "1",
        "open-mode": "append",
        "output": f"{tmp_path}/stdout",
        "signal": "USR2@90",
    }


def test_every_option_arrives(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "partition": "p", "account": "a", "qos": "q", "constraint": "c", "time": "1-00:00:00", "mem": "1G",
        "exclude": "n1", "nodelist": "n2", "exclusive": True, "reservation": "r", "dependency": "afterok:1", "nice": 5,
        "priority": 0, "licenses": "l", "mail_type": "END", "mail_user": "u@x", "wckey": "w", "requeue": False,
        "clusters": "k", "gres": "gpu:1", "signal_delay_s": 30, "job_name_prefix": "pre-",
        "additional_parameters": {"switches": 1, "hold": True, "--spread_job": True, "no": None},
    }  # fmt: skip
    found = directives(text(request(tmp_path), tmp_path, **options))
    expected = {
        "partition": "p", "account": "a", "qos": "q", "constraint": "c", "time": "1440", "mem": "1024M",
        "exclude": "n1", "nodelist": "n2", "exclusive": "", "reservation": "r", "dependency": "afterok:1", "nice": "5",
        "priority": "0", "licenses": "l", "mail-type": "END", "mail-user": "u@x", "wckey": "w", "no-requeue": "",
        "clusters": "k", "gres": "gpu:1", "signal": "USR2@30", "job-name": "'pre-trial 1'",
        "switches": "1", "hold": "", "spread-job": "",
    }  # fmt: skip
    assert found.items() >= expected.items()
    assert "no" not in found


def test_the_users_comment_follows_the_tag_on_one_line(tmp_path: Path) -> None:
    script = text(request(tmp_path), tmp_path, comment="my\nproject \x1e \\ x")
    assert directives(script)["comment"] == "'hpctune:e1:t1:2 my project   \\\\ x'"


def test_one_task_is_a_step_and_its_signal_goes_to_steps(tmp_path: Path) -> None:
    script = text(request(tmp_path, {"cpu": 3}), tmp_path, srun_args=["--cpu-bind=none"])
    last = script.strip().splitlines()[-1]
    assert last.startswith("exec srun --unbuffered --export=ALL --ntasks=1 --nodes=1 --cpus-per-task=3 ")
    assert f"--open-mode=append --output={tmp_path}/stdout --error={tmp_path}/stderr --cpu-bind=none" in last
    assert last.endswith(f"{sys.executable} -u -m hpctune.worker /exp trial_1 1")


@pytest.mark.parametrize("how", [{"use_srun": False}, {"ntasks_per_node": 2}])
def test_several_tasks_run_the_worker_once_in_the_batch_shell(tmp_path: Path, how: dict[str, Any]) -> None:
    script = text(request(tmp_path), tmp_path, **how)
    assert script.strip().splitlines()[-1] == f"exec {sys.executable} -u -m hpctune.worker /exp trial_1 1"
    assert directives(script)["signal"] == "B:USR2@90"


def test_bundles_are_tasks(tmp_path: Path) -> None:
    packed = PlacementGroupFactory([{"CPU": 2.0}, {"CPU": 2.0}])
    found = directives(text(request(tmp_path, packed), tmp_path))
    assert (found["ntasks"], found["cpus-per-task"], "nodes" in found) == ("2", "2", False)


def test_a_container_runs_its_own_python(tmp_path: Path) -> None:
    last = text(request(tmp_path), tmp_path, container="apptainer exec --nv $IMG").strip().splitlines()[-1]
    assert last.endswith(" apptainer exec --nv $IMG python3 -u -m hpctune.worker /exp trial_1 1")
    last = text(request(tmp_path), tmp_path, container="c", python="conda run python").strip().splitlines()[-1]
    assert last.endswith(" c conda run python -u -m hpctune.worker /exp trial_1 1")


def test_an_interpreter_with_a_blank_in_its_path_is_quoted(tmp_path: Path) -> None:
    python = tmp_path / "my python"
    python.touch()
    assert f"'{python}' -u -m hpctune.worker" in text(request(tmp_path), tmp_path, python=str(python))


def test_other_programs_than_python_are_left_alone(tmp_path: Path) -> None:
    assert (
        text(request(tmp_path, command=("/bin/true", "x y")), tmp_path, python="py")
        .rstrip()
        .endswith("/bin/true 'x y'")
    )


def test_modules_then_setup_then_variables_of_which_the_requests_win(tmp_path: Path) -> None:
    script = text(
        request(tmp_path, env={"A": "2"}),
        tmp_path,
        modules=["cuda/12"],
        setup=["source venv"],
        env={"A": "1", "B": "$x"},
    )
    after = script[script.index("# setup") :].splitlines()[2:7]
    expected = ["module load cuda/12", "source venv", "export A=2", "export B='$x'"]
    assert after == [*expected, 'export HPCTUNE_JOB_ID="$SLURM_JOB_ID"']


def test_percent_signs_are_no_patterns(tmp_path: Path) -> None:
    found = directives(text(request(tmp_path, stdout=tmp_path / "100%j" / "out"), tmp_path))
    assert found["output"] == f"{tmp_path}/100%%j/out"


@pytest.mark.parametrize("name", ["back\\slash", "line\nbreak", "bell\a"])
def test_paths_that_sbatch_cannot_name_are_opened_by_the_script(tmp_path: Path, name: str) -> None:
    script = text(request(tmp_path, stdout=tmp_path / name / "out"), tmp_path)
    assert directives(script)["output"] == "/dev/null"
    assert directives(script)["error"] == f"{tmp_path}/stderr"
    assert f"exec >>'{tmp_path / name / 'out'}' 2>>{tmp_path}/stderr\n" in script
    assert "--output=" not in script.strip().splitlines()[-1]


NASTY = 'it\'s "a" $(touch pwned) `touch pwned` \\ ; & |\n#SBATCH --wrap=evil\n touch pwned'


def test_no_name_becomes_a_directive_or_a_command(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import os,sys; print(os.environ['V'] + '|' + sys.argv[1], end='')", NASTY)
    asked = request(tmp_path, name=NASTY, command=command, env={"V": NASTY})
    script = text(asked, tmp_path, comment=NASTY, use_srun=False)
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == f"{NASTY}|{NASTY}"
    assert not (tmp_path / "pwned").exists()
    head = script[: script.index("# setup")]
    assert all(line.startswith("#") or not line for line in head.splitlines())
    assert "wrap" not in directives(head)


def test_nodes_to_be_avoided_and_more_time(tmp_path: Path) -> None:
    asked = request(tmp_path, avoid=("n7", "n8"))
    assert directives(text(asked, tmp_path))["exclude"] == "n7,n8"
    assert directives(text(asked, tmp_path, exclude="n1"))["exclude"] == "n1,n7,n8"
    longer = Resources.parse(None).grown(time=1.5)
    assert directives(text(request(tmp_path, longer), tmp_path, time=61))["time"] == "92"
    assert "time" not in directives(text(request(tmp_path, longer), tmp_path))


def test_parts_of_a_heterogeneous_job_ask_for_themselves(tmp_path: Path) -> None:
    """Output, signal and the tag are those of the first; who runs where, and for how long, is the same."""
    bundles = PlacementGroupFactory([{"CPU": 4.0}, {"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}], "SPREAD")
    made = text(request(tmp_path, bundles), tmp_path, partition="p", account="a", time="1:00:00", comment="mine")
    first, second = made.split("#SBATCH hetjob\n")
    assert directives(first) == {
        "account": "a", "comment": "'hpctune:e1:t1:2 mine'", "cpus-per-task": "4", "error": f"{tmp_path}/stderr",
        "job-name": "'trial 1'", "nodes": "1", "ntasks-per-node": "1", "open-mode": "append",
        "output": f"{tmp_path}/stdout", "partition": "p", "signal": "B:USR2@90", "time": "60",
    }  # fmt: skip
    assert directives(second) == {
        "account": "a", "comment": "hpctune-part:e1", "cpus-per-task": "1", "gres": "gpu:1", "job-name": "'trial 1'",
        "nodes": "2", "ntasks-per-node": "1", "partition": "p", "time": "60",
    }  # fmt: skip
    assert "\nexec srun" not in second, "the worker is no step, so it can start steps in all parts"
