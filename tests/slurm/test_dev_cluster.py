"""scripts/slurm-cluster itself: what the other tests stand on."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import SCRIPT, SlurmCluster, slurm_cluster_command, wait_for

pytestmark = pytest.mark.slurm


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("cluster") / "c"
    yield directory
    slurm_cluster_command("down", "--dir", directory)


def up(directory: Path, *options: str) -> Path:
    done = slurm_cluster_command("up", "--dir", directory, *options)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip().removeprefix("export SLURM_CONF="))


def with_conf(conf: Path) -> dict[str, str]:
    return {**os.environ, "SLURM_CONF": str(conf)}


def ask(conf: Path, *command: str) -> str:
    done = subprocess.run(command, env=with_conf(conf), capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def processes_naming(text: str) -> list[str]:
    """Command lines of live processes that name the text there or in their environment; an own, plainer look."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == str(os.getpid()):
            continue
        try:
            command, environ = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in command or text.encode() in environ:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_down_leaves_no_process_and_no_file(folder: Path) -> None:
    conf = up(folder, "--nodes", "2", "--kill-wait", "60")
    root = str(conf.parent)
    stubborn = "trap '' TERM; setsid sleep 1000 & while :; do sleep 1; done"
    ask(conf, "sbatch", "-o", "/dev/null", "--wrap", f"{stubborn}")
    ask(conf, "sbatch", "-o", "/dev/null", "--export=NONE", "--wrap", "srun sleep 1001")
    wait_for(lambda: ask(conf, "squeue", "-h", "-t", "RUNNING").count("\n") == 2)
    assert len(processes_naming(root)) >= 2 + 2

    begin = time.monotonic()
    assert slurm_cluster_command("down", "--dir", folder).returncode == 0

    assert processes_naming(root) == []
    assert not folder.exists()
    assert not conf.exists()
    assert time.monotonic() - begin < 10


def test_up_and_down_may_be_repeated(folder: Path) -> None:
    assert up(folder, "--nodes", "1") == up(folder, "--nodes", "1")
    other_shape = slurm_cluster_command("up", "--dir", folder, "--nodes", "2")
    assert other_shape.returncode == 1
    assert "nodes is 1, not 2" in other_shape.stderr
    for _ in range(2):
        assert slurm_cluster_command("down", "--dir", folder).returncode == 0
    assert slurm_cluster_command("status", "--dir", folder).returncode == 1


def test_a_folder_that_slurm_could_not_name(tmp_path: Path) -> None:
    folder = tmp_path / "with space" / ("deep" * 30) / "c"
    conf = up(folder, "--nodes", "1")
    try:
        assert ask(conf, "srun", "echo", "hello") == "hello\n"
        assert slurm_cluster_command("env", "--dir", folder).stdout == f"export SLURM_CONF={conf}\n"
    finally:
        assert slurm_cluster_command("down", "--dir", folder).returncode == 0
    assert not folder.exists()
    assert not conf.parent.exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for command in ("up", "down"):
        done = slurm_cluster_command(command, "--dir", tmp_path)
        assert done.returncode == 1
        assert "not a cluster's" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_daemon_that_dies_at_start_is_told_with_its_log(folder: Path) -> None:
    done = slurm_cluster_command("up", "--dir", folder, "--kill-wait", "99999999")
    assert done.returncode == 1
    assert "slurmctld ended with status 1" in done.stderr
    assert "KillWait" in done.stderr
    assert processes_naming(str(folder)) == []


def test_a_missing_daemon_is_started_again(folder: Path) -> None:
    conf = up(folder, "--nodes", "2", "--prefix", "x")
    assert slurm_cluster_command("stop", "--kill", "x2", "--dir", folder).returncode == 0
    assert slurm_cluster_command("status", "--dir", folder).returncode == 1
    up(folder, "--nodes", "2", "--prefix", "x")
    assert slurm_cluster_command("status", "--dir", folder).returncode == 0
    assert len(ask(conf, "srun", "-N2", "hostname").splitlines()) == 2


def test_six_ranks_on_three_nodes(slurm_cluster: SlurmCluster) -> None:
    out = slurm_cluster.run("srun", "-N3", "-n6", "bash", "-c", "echo $SLURM_PROCID $SLURMD_NODENAME")
    ranks = dict(line.split() for line in out.splitlines())
    assert sorted(ranks) == list("012345")
    assert len(set(ranks.values())) == 3


def test_each_job_sees_its_own_gpus(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    show = "echo $CUDA_VISIBLE_DEVICES; sleep 2"
    jobs = [
        slurm_cluster.sbatch("-w", "n1", "--gres=gpu:2", "-o", tmp_path / f"{i}.out", "--wrap", show) for i in range(2)
    ]
    slurm_cluster.wait_for(lambda: all(slurm_cluster.state(job) == "COMPLETED" for job in jobs))
    seen = [(tmp_path / f"{i}.out").read_text().strip().split(",") for i in range(2)]
    assert sorted(seen[0] + seen[1]) == ["0", "1", "2", "3"]
    per_task = slurm_cluster.run("srun", "-n2", "-N1", "--gpus-per-task=1", "bash", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert sorted(per_task.split()) == ["0", "1"]


def test_limits_are_refused_at_submission(slurm_cluster: SlurmCluster) -> None:
    for impossible in (("-p", "short", "-N2"), ("-p", "short", "-t", "6"), ("--gres=gpu:5",), ("-p", "nowhere")):
        with pytest.raises(subprocess.CalledProcessError):
            slurm_cluster.sbatch(*impossible, "--wrap", "true")


@pytest.mark.nightly
def test_urgent_work_requeues_scavengers(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    victim = slurm_cluster.sbatch(
        *("-p", "scavenge", "-w", "n1", "--exclusive", "-o", tmp_path / "victim", "--open-mode=append"),
        *("--wrap", 'echo restart ${SLURM_RESTART_COUNT:-none}; [ -n "$SLURM_RESTART_COUNT" ] || exec sleep 1000'),
    )
    slurm_cluster.wait_for(lambda: slurm_cluster.state(victim) == "RUNNING")
    urgent = slurm_cluster.sbatch("-p", "urgent", "-w", "n1", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
    slurm_cluster.wait_for(lambda: slurm_cluster.state(urgent) == "COMPLETED")
    slurm_cluster.wait_for(lambda: slurm_cluster.state(victim) == "COMPLETED", timeout=60)
    assert (tmp_path / "victim").read_text().splitlines()[-1] == "restart 1"


@pytest.mark.nightly
def test_a_lost_node_requeues_its_job_and_comes_back(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    job = slurm_cluster.sbatch("-w", "n2", "-o", tmp_path / "out", "--wrap", "exec sleep 1000")
    slurm_cluster.wait_for(lambda: slurm_cluster.state(job) == "RUNNING")
    slurm_cluster.kill_slurmd("n2")
    slurm_cluster.wait_for(lambda: slurm_cluster.state(job) == "PENDING", timeout=60, what="the job to be requeued")
    slurm_cluster.run("scancel", job)
    slurm_cluster.start_slurmd("n2")
    assert slurm_cluster.run("srun", "-w", "n2", "bash", "-c", "echo $SLURMD_NODENAME") == "n2\n"


def test_jobs_outlive_their_controller(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    job = slurm_cluster.sbatch("-o", tmp_path / "out", "--wrap", "sleep 1; echo done")
    slurm_cluster.wait_for(lambda: slurm_cluster.state(job) == "RUNNING")
    slurm_cluster.stop_slurmctld()
    slurm_cluster.wait_for(lambda: (tmp_path / "out").read_text() == "done\n")
    slurm_cluster.start_slurmctld()
    slurm_cluster.wait_for(lambda: slurm_cluster.state(job) == "COMPLETED")


def test_two_clusters_side_by_side(slurm_cluster: SlurmCluster, folder: Path) -> None:
    other = up(folder, "--nodes", "1", "--prefix", "other")
    assert ask(other, "srun", "bash", "-c", "echo $SLURMD_NODENAME") == "other1\n"
    job = slurm_cluster.sbatch("-o", "/dev/null", "--wrap", "exec sleep 1000")
    slurm_cluster.wait_for(lambda: slurm_cluster.state(job) == "RUNNING")

    assert slurm_cluster_command("down", "--dir", folder).returncode == 0

    assert slurm_cluster_command("status", "--dir", slurm_cluster.dir).returncode == 0
    assert slurm_cluster.state(job) == "RUNNING"
    slurm_cluster.cancel_all()


def test_accounting_with_limits(folder: Path) -> None:
    conf = up(folder, "--nodes", "1", "--max-submit", "2")
    first = ask(conf, "sbatch", "--parsable", "-o", "/dev/null", "--wrap", "true").strip()
    wait_for(lambda: "COMPLETED" in ask(conf, "sacct", "-n", "-X", "-j", first, "-o", "State"), timeout_s=60)
    hold = ("sbatch", "--hold", "-o", "/dev/null", "--wrap", "true")
    for _ in range(2):
        ask(conf, *hold)
    refused = subprocess.run(hold, env=with_conf(conf), capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0
    assert "AssocMaxSubmitJobLimit" in refused.stderr


def test_run_ends_with_the_status_of_its_command() -> None:
    done = slurm_cluster_command("run", "--nodes", "1", "--", "bash", "-c", "srun echo $SLURM_CONF; exit 7")
    assert done.returncode == 7
    assert not Path(done.stdout.strip()).parent.exists()


def test_the_owner_s_death_takes_the_cluster_down(tmp_path: Path) -> None:
    """SIGKILL, so that nothing but the watcher can be the reason."""
    note = tmp_path / "conf"
    tell = f"sbatch --wrap 'sleep 1000'; echo $SLURM_CONF > {note}.part; mv {note}.part {note}; sleep 99"
    command = ["bash", "-c", tell]
    owner = subprocess.Popen(
        [sys.executable, str(SCRIPT), "run", "--nodes", "1", "--", *command], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(note.exists)
        root = str(Path(note.read_text().strip()).parent)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    wait_for(lambda: not Path(root).exists(), what="the watcher to take the cluster down")
    wait_for(lambda: processes_naming(root) == [])


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests are run by an ordinary user already")
def test_an_ordinary_user_needs_no_privileges(tmp_path_factory: pytest.TempPathFactory) -> None:
    user = pwd.getpwnam("daemon")  # no version of Slurm accepts every user: newer ones refuse "nobody"
    folder = Path("/tmp") / f"hpctune-daemon-{os.getpid()}"
    folder.mkdir()
    scripts = folder / "scripts"  # a checkout may lie where only its owner may look
    shutil.copytree(SCRIPT.parent, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    try:
        (folder / "home").mkdir()
        os.chown(folder / "home", user.pw_uid, user.pw_gid)
        command = ["python3", str(scripts / "slurm-cluster"), "run", "--dir", str(folder / "home" / "c")]
        done = subprocess.run(
            [*command, "--nodes", "2", "--", "srun", "-N2", "-n2", "id", "-un"],
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd=folder / "home",
            env={"PATH": os.environ["PATH"], "HOME": str(folder / "home")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["daemon", "daemon"]
    finally:
        shutil.rmtree(folder)
