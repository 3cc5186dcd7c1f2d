"""A search on the login node behind a real sshd, from a laptop that shares nothing with it."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.ssh_lab import BIN, HELPER, NAME, Laptop, Proxy, Said, Sshd, cluster_processes, wait_for

CONFIG = """
import os, sys, time
import hpctune as tune
from helper import loss


def train(config):
    for step in range(1, 4):
        with tune.checkpoint_dir(step) as directory:
            with open(directory + "/state", "w") as file:
                file.write(str(step))
        tune.report({"loss": loss(config["x"], step)})
        time.sleep(PAUSE)
    while WAIT and not os.path.exists(os.path.expanduser("~/go")):
        time.sleep(0.1)
    print("trained", sys.argv)


tuner = tune.Tuner(
    train,
    param_space={"x": tune.grid_search([1.0, 2.0, 3.0])},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
)
"""
RUN = ("run", "project/config.py", "--on", NAME, "--cluster", "local", "--no-doctor")


@pytest.fixture
def project(laptop: Laptop) -> Path:
    root = laptop.work / "project"
    root.mkdir()
    write(root)
    return root


def write(root: Path, pause: float = 0.0, *, wait: bool = False) -> None:
    """``wait``: trials go on until there is a file ``go`` in the home there."""
    (root / "config.py").write_text(CONFIG.replace("PAUSE", str(pause)).replace("WAIT", str(wait)))
    (root / "helper.py").write_text(HELPER)


def experiments(sshd: Sshd) -> list[str]:
    return sorted(path.parent.name for path in sshd.home.glob("hpctune_results/*/experiment.json"))


def counts(said: Said) -> tuple[int, int]:
    """How many files were sent, and how many bytes were received (in kB or B, as told)."""
    found = re.search(r"Sent (\d+) files?, .*; received ([\d.]+) (k?B)", said.err)
    assert found is not None, said
    return int(found[1]), int(float(found[2]) * (1000 if found[3] == "kB" else 1))


def test_the_whole_session(laptop: Laptop, sshd: Sshd, project: Path) -> None:
    run = (*RUN, "--name", "first")
    refused = laptop.call(*run)
    assert refused.code == 2, refused
    assert re.search(r"config\.py .*\n +helper\.py .*B\n", refused.err)
    assert "To send them: --yes" in refused.err
    assert not list(sshd.home.glob("hpctune/code/*")), "nothing was sent"

    done = laptop.call(*run, "--yes", "--", "--epochs", "3")
    assert done.code == 0, done
    assert "3 of 3 (3 completed)" in done.out
    assert counts(done)[0] == 2
    assert "Welcome" not in done.out + done.err, "what the profile prints is dropped"
    write(project, pause=0.01)
    changed = laptop.call(*run)
    assert "It was started before on cluster, with other files or options than now" in changed.err, changed
    assert "3 of 3 (3 completed)" in changed.out, "the search that was started"
    assert counts(changed)[0] == 1, "only what has changed is sent, and a known name needs no question"
    assert experiments(sshd) == ["first"]

    there = {"HOME": str(sshd.home), "PATH": sshd.variables["PATH"]}
    status = [BIN / "hpctune", "status", "first"]
    direct = subprocess.run(status, env=there, capture_output=True, text=True, cwd=sshd.home)
    said = laptop.call("status", "first", "--on", NAME)
    assert (said.code, said.err) == (0, direct.stderr), said
    assert re.sub(r"\d+ \w?B free", "", said.out) == re.sub(r"\d+ \w?B free", "", direct.stdout)
    assert "config.py', '--epochs', '3']" in laptop.call("logs", "first", "0", env={"HPCTUNE_ON": NAME}).out
    assert laptop.call("status", "first", "--on", "", env={"HPCTUNE_ON": NAME}).code == 2, "'' means here"
    failed = laptop.call("status", "nothing", "--on", NAME)
    assert failed.code == 2
    assert "There is no experiment 'nothing'" in failed.err

    listed = laptop.call("list", "first", "--on", NAME, "--output", "trials.csv")
    assert listed.code == 0, listed
    assert len((laptop.work / "trials.csv").read_text().splitlines()) == 4
    assert not list(sshd.home.glob("hpctune/.out-*"))

    stopped = laptop.call("stop", "first", "--on", NAME)
    assert "is over already" in stopped.out
    resumed = laptop.call("resume", "first", "--num-samples", "2", "--cluster", "local", "--on", NAME)
    assert resumed.code == 0, resumed
    assert "6 of 6 (6 completed)" in resumed.out
    assert experiments(sshd) == ["first"]


@pytest.mark.nightly
def test_in_a_terminal_and_fetched(laptop: Laptop, sshd: Sshd, project: Path) -> None:
    run = (*RUN, "--name", "first")
    asked = laptop.in_terminal(*run, answers={"Send them? [Y/n]": "n"})
    assert (asked.code, "Nothing was sent." in asked.out) == (2, True), asked
    asked = laptop.in_terminal(*run, answers={"Send them? [Y/n]": ""})
    assert asked.code == 0, asked
    laptop.clusters(f'[{NAME}]\nsetup = ["stty size >$HOME/size 2>/dev/null || true"]\n')
    assert "finished" in laptop.in_terminal("status", "first", "--on", NAME, columns=97).out
    assert (sshd.home / "size").read_text() == "40 97\n"
    assert "\x1b[" in laptop.in_terminal("logs", "first", "--on", NAME).out, "colours"

    here = laptop.home / "hpctune_results" / "first"
    best = laptop.call("fetch", "first", "--on", NAME)
    assert best.code == 0, best
    assert [path.read_text() for path in here.glob("*/checkpoint_*/state")] == ["3"]
    sshd.stop()
    sshd.start("MaxSessions 1")
    part = laptop.call("resume", "first", "--num-samples", "5")
    assert f"hpctune fetch first --on {NAME} --checkpoints all" in part.err, part
    every = laptop.call("fetch", "first", "--on", NAME, "--checkpoints", "all")
    assert len(list(here.glob("*/checkpoint_*/state"))) == 9, every
    inodes = {path: path.stat().st_ino for path in here.rglob("*") if path.is_file()}
    assert laptop.call("fetch", "first", "--on", NAME, "--best", "2").code == 0
    assert {path: path.stat().st_ino for path in here.rglob("*") if path.is_file()} == inodes, "nothing came again"
    assert json.loads(laptop.call("status", "first", "--json").out)["counts"]["total"] == 3
    wrong = laptop.call("fetch", "nothing", "--on", NAME)
    assert (wrong.code, "cluster: There is no experiment 'nothing'" in wrong.err) == (2, True), wrong


def running(sshd: Sshd, word: str) -> list[int]:
    """The processes there that have ``word`` as a word of their command lines, and are no shells."""
    found = []
    for pid in cluster_processes(sshd.home):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if word.encode() in command:
                found.append(pid)
    return found


def test_leaving_and_coming_back(laptop: Laptop, sshd: Sshd, project: Path) -> None:
    """Ctrl-C, and a connection that is cut, change nothing there; others may look at the same time."""
    write(project, wait=True)
    proxy = Proxy(sshd.port)
    laptop.knows(sshd, proxy.port)
    laptop.config.write_text(laptop.config.read_text().replace(f"Port {sshd.port}", f"Port {proxy.port}"))
    first = laptop.start(*RUN, "--name", "first", "--yes")
    wait_for(lambda: experiments(sshd) == ["first"], 60, "the search")
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=30)
    assert first.returncode == 3, (out, err)
    assert "Nothing changes on the cluster by that. To see it again: hpctune run --on cluster project/config.py" in err
    both = [laptop.start(*RUN, "--name", "first") for _ in range(2)]
    wait_for(lambda: "running" in laptop.call("status", "first", "--on", NAME).out, 60, "running trials")
    looking = laptop.start("logs", "first", "-f", "--on", NAME)
    wait_for(lambda: running(sshd, "logs"), 60, "logs -f there")
    looking.send_signal(signal.SIGINT)
    looking.communicate(timeout=30)
    assert looking.returncode == 130
    wait_for(lambda: not running(sshd, "logs"), 60, "the end of logs -f there")
    wait_for(lambda: len(running(sshd, "follow")) >= 2, 60, "two that follow")
    followers = set(running(sshd, "follow"))
    proxy.cut()
    wait_for(lambda: not followers & set(running(sshd, "follow")), 60, "the end of what followed")
    (sshd.home / "go").touch()
    for process in both:
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, (out, err)
        assert "3 of 3 (3 completed)" in out
        assert "Connecting again." in err
    assert experiments(sshd) == ["first"]
    assert len(list(sshd.home.glob("hpctune/tasks/run-*/*"))) == 1
    proxy.close()
