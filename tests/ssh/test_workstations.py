"""Trials on machines that are reached by a real sshd, each with a home of its own and no directory in common."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpctune.cluster.ssh.cluster import SshCluster
from hpctune.cluster.ssh.options import SshOptions, Workstation
from hpctune.ports import Clock, Cluster
from hpctune.testing.cluster_suite import ClusterSuite
from tests.support.ssh_lab import (
    BIN,
    HELPER,
    NAME,
    Laptop,
    Proxy,
    Said,
    Sshd,
    cluster_processes,
    nothing_left,
    wait_for,
)

from .test_environment import everything_needed


class TestSshCluster(ClusterSuite):
    """It does what every cluster must."""

    @pytest.fixture(autouse=True)
    def at_the_laptop(self, laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(laptop.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def make(self, experiment_dir: Path, experiment_id: str, clock: Clock) -> Cluster:
        machine = Workstation(host=NAME, cpus=4, gpus=0, python=sys.executable)
        made = SshCluster(experiment_dir, experiment_id, SshOptions(hosts=[machine], kill_wait_s=5.0), clock)
        made.jobs()  # it connects
        return made


SEARCH = """
import json, os, tempfile, time
import hpctune as tune
from helper import loss

def train(config):
    checkpoint, first = tune.get_checkpoint(), 1
    if checkpoint:
        with checkpoint.as_directory() as directory:
            first = json.load(open(directory + "/step.json"))["step"] + 1
    for step in range(first, config["steps"] + 1):
        time.sleep(config["pause"])
        print("step", step)
        with tempfile.TemporaryDirectory() as directory:
            json.dump({"step": step}, open(directory + "/step.json", "w"))
            open("own.txt", "a").write(f"{step}\\n")
            tune.report(
                {"loss": loss(config["x"], step), "step": step, "home": os.environ["HOME"], "where": os.getcwd(),
                 "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", "-"), "word": os.environ.get("WORD", "-")},
                checkpoint=tune.Checkpoint(directory),
            )

tuner = tune.Tuner(
    train,
    param_space={"x": tune.uniform(0, 4), "steps": STEPS, "pause": PAUSE},
    tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=SAMPLES),
    run_config=tune.RunConfig(name="demo", log_to_file=True),
    MORE
)
"""


@dataclass
class Machines:
    """Some workstations, ``ws1`` and so on, and the laptop whose ssh configuration names them."""

    laptop: Laptop
    servers: dict[str, Sshd]
    results: Path

    def write(self, *, samples: int = 6, steps: int = 5, pause: float = 0.05, more: str = "") -> None:
        """The search, and a module that it imports."""
        text = SEARCH.replace("SAMPLES", str(samples)).replace("STEPS", str(steps)).replace("PAUSE", str(pause))
        (self.laptop.work / "search.py").write_text(text.replace("MORE", more))
        (self.laptop.work / "helper.py").write_text(HELPER)

    def env(self) -> dict[str, str]:
        return {"HPCTUNE_RESULT_DIR": str(self.results)}

    def call(self, *words: str | Path, timeout: float = 120) -> Said:
        return self.laptop.call(*words, timeout=timeout, env=self.env())

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return self.laptop.start(*words, env=self.env())

    @staticmethod
    def reads(driver: subprocess.Popen[str], what: str) -> str:
        """What the driver writes on stderr, up to a line with ``what``."""
        assert driver.stderr is not None
        said = ""
        for line in driver.stderr:
            said += line
            if what in line:
                return said
        raise AssertionError(f"never said: {what}\n{said}")

    def behind_proxy(self, name: str, seed: int = 0) -> Proxy:
        """Put a proxy in front of a machine."""
        server = self.servers[name]
        proxy = Proxy(server.port, seed)
        self.laptop.knows(server, proxy.port)
        text = self.laptop.config.read_text().replace(f"Port {server.port}\n", f"Port {proxy.port}\n")
        self.laptop.config.write_text(text)
        return proxy

    @property
    def demo(self) -> Path:
        return self.results / "demo"

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The results of each trial, as its results file has them."""
        found = {path.parent.name: path.read_text().splitlines() for path in self.demo.glob("train_*/result.json")}
        return {name: [json.loads(line) for line in lines] for name, lines in found.items()}

    def reported(self) -> int:
        """How many results the driver knows; 0 before there are any."""
        said = self.call("list", self.demo, "--json")
        trials = json.loads(said.out) if said.code == 0 else []
        return sum(int(trial.get("training_iteration") or 0) for trial in trials)

    def check_complete(self, trials: int, steps: int) -> None:
        """Every trial has reported each step once, and has its last checkpoint whole."""
        rows = self.rows()
        assert len(rows) == trials
        for name, lines in rows.items():
            assert [line["step"] for line in lines] == list(range(1, steps + 1)), (name, lines)
            newest = max((self.demo / name).glob("checkpoint_*"))
            assert json.loads((newest / "step.json").read_text()) == {"step": steps}

    def homes(self) -> set[str]:
        """The machines on which trials ran."""
        return {Path(line["home"]).name for lines in self.rows().values() for line in lines}

    def left(self) -> list[str]:
        """What jobs left on the machines."""
        return [str(path) for server in self.servers.values() for path in server.home.glob("hpctune-*")]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """Two workstations. Each has a home of its own, with a directory for temporary files in it."""
    laptop, servers = Laptop(tmp_path / "here", tmp_path / "work"), {}
    with contextlib.ExitStack() as stack:
        for name in ("ws1", "ws2"):
            home = tmp_path / name
            path = f"{BIN}:/usr/local/bin:/usr/bin:/bin"
            server = servers[name] = Sshd(
                tmp_path / f"{name}-sshd", home, {"PATH": path, "USER": "me", "TMPDIR": str(home)}
            )
            (home / ".bash_profile").write_text("echo 'Welcome!'; read -r what\n")
            stack.enter_context(nothing_left(home))
            server.start()
            stack.callback(server.stop)
            laptop.may_enter(server)
            laptop.knows(server)
            with laptop.config.open("a") as file:
                file.write(f"Host {name}\n  HostName 127.0.0.1\n  Port {server.port}\n  User {getpass.getuser()}\n")
        yield Machines(laptop, servers, tmp_path / "results")


def test_a_search_uses_all_machines_and_leaves_nothing_there(machines: Machines) -> None:
    machines.write()
    said = machines.call("run", "search.py", "--hosts", "ws1,ws2")
    assert said.code == 0, said
    assert "2 of 2 workstations" in said.out
    machines.check_complete(6, 5)
    assert machines.homes() == {"ws1", "ws2"}
    for name, lines in machines.rows().items():
        trial = machines.demo / name
        assert all(not line["where"].startswith(str(machines.results)) for line in lines)
        assert (trial / "stdout").read_text() == "".join(f"step {step}\n" for step in range(1, 6))
        assert (trial / "own.txt").read_text() == "".join(f"{step}\n" for step in range(1, 6))
    wait_for(lambda: not machines.left(), what="the agents to tidy up")
    assert list((machines.demo / "jobs").iterdir()) == []


def test_a_killed_driver_loses_nothing(machines: Machines) -> None:
    machines.write(samples=4, steps=12, pause=0.25)
    driver = machines.start("run", "search.py", "--hosts", "ws1,ws2")
    wait_for(lambda: machines.reported() >= 6, what="some results")
    driver.kill()
    driver.communicate()
    running = [pid for server in machines.servers.values() for pid in cluster_processes(server.home)]
    assert running, "the jobs have ended with the driver"
    said = machines.call("resume", machines.demo)
    assert said.code == 0, said
    machines.check_complete(4, 12)
    wait_for(lambda: not machines.left(), what="the agents to tidy up")


@pytest.mark.nightly
def test_broken_connections_lose_nothing(machines: Machines) -> None:
    proxy = machines.behind_proxy("ws1", seed=3)
    machines.write(samples=4, steps=10, pause=0.1)
    proxy.between = (20_000, 120_000)
    said = machines.call("run", "search.py", "--hosts", "ws1")
    proxy.close()
    assert said.code == 0, said
    assert proxy.cuts >= 3, said
    assert "is connected again" in said.err
    machines.check_complete(4, 10)


def test_trials_of_a_machine_that_is_lost_go_on_on_another(machines: Machines) -> None:
    machines.write(
        samples=2, steps=12, pause=0.25, more="cluster=tune.SshOptions(hosts=[dict(host='ws1', cpus=1), "
        "dict(host='ws2', cpus=1)], lost_after_s=2.0),",
    )  # fmt: skip
    driver = machines.start("run", "search.py")
    wait_for(lambda: machines.reported() >= 6 and machines.homes() == {"ws1", "ws2"}, what="results of both")
    machines.servers["ws2"].stop()
    for pid in cluster_processes(machines.servers["ws2"].home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, (out, err)
    assert "ws2 cannot be reached" in err
    machines.check_complete(2, 12)
    moved = [lines for lines in machines.rows().values() if len({line["home"] for line in lines}) == 2]
    assert len(moved) == 1, "no trial went on elsewhere from its checkpoint"


def test_a_stop_without_a_driver_ends_the_jobs(machines: Machines) -> None:
    machines.write(samples=4, steps=2000, pause=0.1)
    driver = machines.start("run", "search.py", "--hosts", "ws1,ws2")
    wait_for(lambda: machines.reported() >= 4, what="some results")
    driver.kill()
    driver.communicate()
    said = machines.call("stop", machines.demo, "--now")
    assert said.code == 0, said
    assert "Cancelled 4 jobs." in said.out
    wait_for(
        lambda: not [pid for server in machines.servers.values() for pid in cluster_processes(server.home)],
        what="the jobs to end",
    )


def test_a_driver_that_leaves_its_jobs_cancelled_leaves_none(machines: Machines) -> None:
    """Nobody comes for what such a job saves last, and what ignores SIGTERM is killed without the driver."""
    machines.write(samples=2, steps=2000, pause=0.1, more="cluster=tune.SshOptions(hosts=['ws1'], kill_wait_s=2.0),")
    script = machines.laptop.work / "search.py"
    stubborn = "import signal, subprocess\nsubprocess.Popen(['sh', '-c', 'trap \"\" TERM; exec sleep 1000'])"
    text = script.read_text().replace(
        "def train(config):\n", f"def train(config):\n{textwrap.indent(stubborn, '    ')}\n"
    )
    script.write_text(text)
    driver = machines.start("run", "search.py", "--cancel-on-exit")
    wait_for(lambda: machines.reported() >= 2, what="some results")
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    home = machines.servers["ws1"].home
    wait_for(lambda: not cluster_processes(home), what="the jobs and the agent to end")


@pytest.mark.nightly
def test_a_machine_that_is_named_twice_is_used_once(machines: Machines) -> None:
    config = machines.laptop.config
    config.write_text(config.read_text().replace("Host ws1\n", "Host ws1 alias\n"))
    machines.write(samples=4, steps=3)
    said = machines.call("run", "search.py", "--hosts", "ws1,alias")
    assert said.code == 0, said
    assert re.search(r"It is the same machine as (ws1|alias)\. Name it once", said.err), said
    assert "cannot be reached" not in said.err
    machines.check_complete(4, 3)


@pytest.mark.nightly
def test_a_resume_without_a_machine_ends_its_jobs(machines: Machines) -> None:
    machines.write(samples=2, steps=30, pause=0.1, more="cluster=tune.SshOptions(hosts=[dict(host='ws1', cpus=1), "
        "dict(host='ws2', cpus=1)]),")  # fmt: skip
    driver = machines.start("run", "search.py")
    wait_for(lambda: machines.reported() >= 4 and machines.homes() == {"ws1", "ws2"}, what="results of both")
    driver.kill()
    driver.communicate()
    driver = machines.start("resume", machines.demo, "--hosts", "ws1")
    home = machines.servers["ws2"].home
    wait_for(lambda: not cluster_processes(home), what="the jobs on ws2 to end")
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, (out, err)
    machines.check_complete(2, 30)


def test_options_reach_the_machines(machines: Machines) -> None:
    machines.write(
        samples=2, steps=1, more="cluster=tune.SshOptions(hosts=[tune.Workstation(host='ws1', cpus=2, gpus=2)], "
        "env={'WORD': 'a b'}, setup=['echo noise', 'export OTHER=1'], directory='~/$USER', python=PYTHON),"
    )  # fmt: skip
    text = (machines.laptop.work / "search.py").read_text().replace("PYTHON", repr(sys.executable))
    text = text.replace("    train,\n", "    tune.with_resources(train, {'cpu': 1, 'gpu': 1}),\n")
    (machines.laptop.work / "search.py").write_text(text)
    said = machines.call("run", "search.py")
    assert said.code == 0, said
    lines = [line for lines in machines.rows().values() for line in lines]
    assert {line["gpus"] for line in lines} == {"0", "1"}
    assert {line["word"] for line in lines} == {"a b"}
    assert all(line["where"].startswith(str(machines.servers["ws1"].home / "me")) for line in lines)


def test_a_machine_that_is_off_is_told_and_the_others_are_used(machines: Machines) -> None:
    machines.write(samples=2, steps=2)
    machines.servers["ws2"].stop()
    said = machines.call("run", "search.py", "--hosts", "ws1,ws2")
    assert said.code == 0, said
    assert "ws2 is not used, until it can be reached" in said.err
    machines.check_complete(2, 2)


def test_nothing_is_made_if_no_machine_can_be_used(machines: Machines) -> None:
    machines.write()
    machines.laptop.known_hosts.write_text("")
    machines.servers["ws2"].authorized.write_text("")
    machines.laptop.knows(machines.servers["ws2"])
    said = machines.call("run", "search.py", "--hosts", "ws1,ws2")
    assert said.code == 2
    assert "No workstation can be used:" in said.err
    assert "ws1: " in said.err
    assert "known_hosts" in said.err
    assert "ws2: " in said.err
    assert not machines.demo.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--python", "/nowhere/python"), "There is no /nowhere/python"),
        (("--python", "/usr/bin/python3 -S -E"), "has no hpctune. Name the interpreter"),
        (("--setup", "false"), "A line of setup failed there"),
        (("--workers", "2"), "Workers that stay"),
        (("--make-env", "--python", "python3"), "exclude each other"),
        (("--cluster", "slurm"), "--cluster slurm is another cluster"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_made(
    machines: Machines, words: tuple[str, ...], told: str
) -> None:
    machines.write()
    said = machines.call("run", "search.py", "--hosts", "ws1", *words)
    assert said.code == 2, said
    assert told in said.err
    assert not machines.demo.exists()


def test_a_trial_that_no_machine_can_run_is_told(machines: Machines) -> None:
    machines.write(more="cluster=tune.SshOptions(hosts=['ws1', 'ws2']),")
    path = machines.laptop.work / "search.py"
    path.write_text(path.read_text().replace("    train,\n", "    tune.with_resources(train, {'cpu': 5000}),\n"))
    said = machines.call("run", "search.py")
    assert said.code == 1
    assert "A trial needs 5000 CPUs, and ws1 offers" in said.err
    assert "Workstation(cpus=...)" in said.err
    assert not machines.demo.exists()


def test_a_file_without_python_names_machines(machines: Machines) -> None:
    (machines.laptop.work / "program.py").write_text("import sys\nprint('loss', float(sys.argv[2]) ** 2)\n")
    (machines.laptop.work / "demo.yaml").write_text(
        f"command: {sys.executable} {machines.laptop.work}/program.py\nparameters: {{x: [1, 2]}}\ngrid: true\n"
        "metric: loss\nnum_samples: 1\nssh: {hosts: [ws1, {host: ws2, cpus: 1}]}\n"
    )
    said = machines.call("run", "demo.yaml")
    assert said.code == 0, said
    assert "loss=1" in said.out


PROGRAM = """
import os, sys, time
from lib.model import loss
print("in", os.getcwd(), flush=True)
x = float(sys.argv[sys.argv.index("--x") + 1])
with open("seen.txt", "a") as file:
    file.write(f"{x}\\n")
while os.path.exists("PROJECT"):
    time.sleep(0.05)
print("loss", loss(x, open("data/offset.txt").read()))
"""


def test_a_program_travels_with_its_project(machines: Machines, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "lib").mkdir(parents=True)
    (project / "data").mkdir()
    (project / "train.py").write_text(PROGRAM.replace("PROJECT", str(project)))
    (project / "lib" / "model.py").write_text("def loss(x, offset):\n    return (x - float(offset)) ** 2\n")
    (project / "data" / "offset.txt").write_text("2\n")
    (project / ".env").write_text("SECRET=1")
    machines.laptop.work = project
    words = ("sweep", f"{sys.executable} train.py", "x=1,2,4", "--grid", "--metric", "loss", "--name", "demo")
    where = ("--hosts", "ws1", "--code", "data", "--max-concurrent", "1")
    said = machines.call(*words, *where, "--dry-run")
    assert said.code == 0, said
    assert "Brings:     3 files" in said.out
    driver = machines.start(*words, *where)
    # While a machine sees the project itself, its programs run there. Then it does not see it any more.
    wait_for((project / "seen.txt").exists, what="the first trial to begin")
    project.rename(tmp_path / "elsewhere")
    out, errors = driver.communicate(timeout=120)
    assert driver.returncode == 0, (out, errors)
    trials = sorted(machines.demo.glob("train_*/"))
    assert [(path / "project" / "seen.txt").exists() for path in trials] == [False, True, True]
    assert (trials[1] / "project" / "seen.txt").read_text() == "2.0\n"
    assert [path.name for path in (trials[1] / "project").iterdir()] == ["seen.txt"], "what it wrote, and no more"
    found = {name: lines[-1]["loss"] for name, lines in machines.rows().items()}
    assert sorted(found.values()) == [0.0, 1.0, 4.0]
    wait_for(lambda: not machines.left(), what="the agents to tidy up")


def test_a_resume_brings_the_program_as_it_is_now(machines: Machines) -> None:
    """It is mended, and what it misses is named."""
    place = machines.laptop.work
    (place / "train.py").write_text("raise SystemExit('wrong')")
    subprocess.run(["git", "init", "-q"], cwd=place, check=True)
    (place / ".gitignore").write_text("data\n")
    (place / "data").mkdir()
    (place / "data" / "offset.txt").write_text("1")
    words = ("sweep", f"{sys.executable} train.py", "x=1,2", "--grid", "--metric", "loss", "--name", "demo")
    assert machines.call(*words, "--hosts", "ws1").code == 1
    (place / "train.py").write_text("import sys\nprint('loss', len(sys.argv) + int(open('data/offset.txt').read()))\n")
    said = machines.call("resume", machines.demo, "--errored", "--code", "data")
    assert said.code == 0, said
    assert {lines[-1]["loss"] for lines in machines.rows().values()} == {4.0}
    (bundle,) = set((machines.demo / "code").glob("project-*")) - {_first(machines.demo)}
    with tarfile.open(bundle) as files:
        assert sorted(files.getnames()) == [".gitignore", "data/offset.txt", "train.py"]


def _first(experiment: Path) -> Path:
    """The project as the search was started with it."""
    return min((experiment / "code").glob("project-*"), key=lambda path: path.stat().st_mtime_ns)


OPTUNA = """
import os, time
import optuna

def objective(trial):
    trial.set_user_attr("home", os.environ["HOME"])
    trial.set_user_attr("known", len(trial.study.get_trials(states=[optuna.trial.TrialState.COMPLETE])))
    x = trial.suggest_float("x", -5, 5)
    for step in range(4):
        time.sleep(0.3)
        trial.report(x * x + trial.number, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x * x + trial.number

study = optuna.create_study(
    sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=2),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
)
study.optimize(objective, n_trials=8, n_jobs=2)
for trial in study.trials:
    print("trial", trial.number, trial.state.name, trial.user_attrs.get("home"), trial.user_attrs.get("known"))
"""


def test_an_optuna_script_runs_as_it_is(machines: Machines) -> None:
    pytest.importorskip("optuna")
    (machines.laptop.work / "study.py").write_text(OPTUNA)
    said = machines.call("run", "study.py", "--hosts", "ws1,ws2", "--name", "demo", "-v", "0")
    assert said.code == 0, said
    rows = [line.split() for line in said.out.splitlines() if line.startswith("trial")]
    assert [int(row[1]) for row in rows] == list(range(8))
    assert {row[2] for row in rows} <= {"COMPLETE", "PRUNED"}
    assert "PRUNED" in {row[2] for row in rows}, "a pruner sees the values of others"
    assert {Path(row[3]).name for row in rows} == {"ws1", "ws2"}
    assert max(int(row[4]) for row in rows) > 1, "a trial sees those that are over"


def test_a_file_that_a_program_misses_is_told(machines: Machines, tmp_path: Path) -> None:
    (machines.laptop.work / "program.py").write_text("print('loss', open('data.txt').read())\n")
    words = ("sweep", f"{sys.executable} program.py", "x=1,2", "--metric", "loss", "--num-samples", "1")
    said = machines.call(*words, "--hosts", "ws1")
    assert said.code == 1, said
    assert "Bring others with --code PATH" in "".join(
        path.read_text() for path in machines.results.glob("*/*/error.txt")
    )


def test_doctor_says_what_each_machine_is(machines: Machines) -> None:
    machines.servers["ws2"].stop()
    said = machines.call("doctor", "--hosts", "ws1,ws2", "--dir", machines.results)
    assert said.code == 0, said
    assert re.search(r"ok +ws1: \d+ CPUs? and 0 GPUs for trials", said.out), said
    assert re.search(r"warn +ws2: .* cannot be reached", said.out), said
    wait_for(lambda: not machines.left(), what="the agent to tidy up")
    said = machines.call("doctor", "--hosts", "ws2", "--dir", machines.results)
    assert said.code == 1
    assert "No trial could run." in said.out


@pytest.mark.nightly
def test_a_connection_that_hangs_is_replaced(machines: Machines) -> None:
    server = machines.servers["ws1"]
    proxy = machines.behind_proxy("ws1")
    text = machines.laptop.config.read_text()
    machines.laptop.config.write_text(f"ServerAliveInterval 1\nServerAliveCountMax 2\n{text}")
    machines.write(samples=2, steps=20, pause=0.2)
    driver = machines.start("run", "search.py", "--hosts", "ws1")
    wait_for(lambda: machines.reported() >= 3, what="some results")
    before = _agents(server.home)
    proxy.frozen.set()
    said = machines.reads(driver, "cannot be reached")
    proxy.frozen.clear()
    out, err = driver.communicate(timeout=120)
    proxy.close()
    assert driver.returncode == 0, (out, said, err)
    assert before
    machines.check_complete(2, 20)
    wait_for(lambda: not _agents(server.home), what="all agents to end")


@pytest.mark.nightly
def test_a_job_that_nobody_comes_for_ends_and_its_trial_goes_on(machines: Machines) -> None:
    machines.write(samples=1, steps=3, pause=0.5, more="cluster=tune.SshOptions(hosts=['ws1'], patience_s=1.0),")
    driver = machines.start("run", "search.py")
    wait_for(lambda: machines.reported() >= 1, what="a result")
    driver.kill()
    driver.communicate()
    home = machines.servers["ws1"].home
    wait_for(lambda: not cluster_processes(home), what="the job to give up")
    said = machines.call("resume", machines.demo)
    assert said.code == 0, said
    machines.check_complete(1, 3)


def _agents(home: Path) -> set[int]:
    found = set()
    for pid in cluster_processes(home):
        with contextlib.suppress(OSError):
            if b"hpctune.cluster.ssh.agent" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.add(pid)
    return found


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_lost_whatever_is_killed(machines: Machines, seed: int) -> None:
    """Drivers, agents, servers, connections and jobs, one after another; each time the search goes on a little."""
    chance = random.Random(seed)
    proxies = {name: machines.behind_proxy(name, seed) for name in machines.servers}
    machines.write(
        samples=6, steps=25, pause=0.15, more="cluster=tune.SshOptions(hosts=['ws1', 'ws2'], lost_after_s=60.0),",
    )  # fmt: skip
    words: tuple[str | Path, ...] = ("run", "search.py")
    driver = machines.start(*words)
    happened: Counter[str] = Counter()
    before = 0
    for kind in chance.sample([*_KINDS, *_KINDS, *_KINDS], 3 * len(_KINDS)):
        wait_for(
            lambda: machines.reported() >= min(before + 3, 150) or driver.poll() is not None,  # noqa: B023
            60, f"progress after {happened}",
        )  # fmt: skip
        before = machines.reported()
        name = chance.choice(sorted(machines.servers))
        server, proxy = machines.servers[name], proxies[name]
        if driver.poll() is not None:
            break
        happened[kind] += 1
        if kind == "driver":
            driver.kill()
            driver.communicate()
            driver = machines.start("resume", machines.demo)
        elif kind == "agent":
            _kill(_agents(server.home))
        elif kind == "connection":
            proxy.cut()
        elif kind == "server":
            server.stop()
            _kill(_agents(server.home))
            server.start()
        else:
            jobs = [pid for pid in cluster_processes(server.home) if pid not in _agents(server.home)]
            _kill(set(jobs[:1]))
    out, err = driver.communicate(timeout=240)
    assert driver.returncode == 0, (happened, out, err)
    for proxy in proxies.values():
        proxy.close()
    assert sum(happened.values()) >= 5, happened
    machines.check_complete(6, 25)
    wait_for(
        lambda: not [pid for one in machines.servers.values() for pid in cluster_processes(one.home)], 60, "the end"
    )


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_an_environment_is_made_on_each_machine(machines: Machines, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    everything_needed(wheels)
    machines.write(samples=4, steps=2)
    script = machines.laptop.work / "search.py"
    script.write_text(script.read_text().replace("import hpctune", "import iniconfig, hpctune", 1))
    (machines.laptop.work / "requirements.txt").write_text("iniconfig\n")
    words = ("run", "search.py", "--hosts", "ws1,ws2", "--make-env", "--wheels", wheels)
    said = machines.call(*words, timeout=600)
    assert said.code == 0, said
    for name in ("ws1", "ws2"):
        assert f"Making an environment on {name} with Python 3." in said.err
        assert len(list(machines.servers[name].home.glob("hpctune/envs/*/complete"))) == 1
    machines.check_complete(4, 2)
    again = machines.call(*words, "--name", "again", timeout=600)
    assert again.code == 0, again
    assert "Making an environment" not in again.err


_KINDS = ("driver", "agent", "connection", "server", "job")


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
