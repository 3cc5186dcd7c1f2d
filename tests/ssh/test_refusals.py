"""What a cluster refuses, or lacks: each is told with the remedy, and the remedy works."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.filesystem_support import fill, small_disk
from tests.support.ssh_lab import NAME, Laptop, Sshd, key, wait_for

RELAY = """
import os, socket, sys, threading
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def back():
    while data := there.recv(4096):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 4096):
    there.sendall(data)
"""


def accept(laptop: Laptop, message: str) -> None:
    """Do what the message says."""
    command = message.rstrip().splitlines()[-1].strip()
    subprocess.run(["bash", "-euc", command], env=laptop.environment(), check=True, capture_output=True)


def entered(laptop: Laptop) -> bool:
    """Whether a command ran there."""
    return "There is no experiment in" in laptop.call("list", "--on", NAME).err


def fingerprint(public: Path) -> str:
    return subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True).stdout.split()[1]


def test_an_unknown_and_a_changed_host(laptop: Laptop, sshd: Sshd) -> None:
    laptop.known_hosts.unlink()
    unknown = laptop.call("list", "--on", NAME)
    assert unknown.code == 1
    assert "127.0.0.1 is not known" in unknown.err
    assert fingerprint(sshd.host_key.with_suffix(".pub")) in unknown.err
    assert not laptop.known_hosts.exists(), "nothing is accepted silently"
    accept(laptop, unknown.err)
    assert entered(laptop)

    sshd.stop()
    sshd.host_key.unlink()
    key(sshd.host_key, "ecdsa")
    sshd.start()
    changed = laptop.call("list", "--on", NAME)
    assert changed.code == 1
    assert "THE KEY OF 127.0.0.1 HAS CHANGED" in changed.err
    assert fingerprint(sshd.host_key.with_suffix(".pub")) in changed.err
    accept(laptop, changed.err)
    assert entered(laptop)


def test_a_key_that_may_not_enter(laptop: Laptop, sshd: Sshd) -> None:
    sshd.authorized.write_text("")
    said = laptop.call("list", "--on", NAME)
    assert said.code == 1
    assert re.search(
        r"does not let you in: it accepts none of your keys\. Tried: .*id_ed25519\. .*ssh-add FILE", said.err
    )


def test_a_cluster_without_python(laptop: Laptop, sshd: Sshd, tmp_path: Path) -> None:
    nothing_yet = laptop.call("status", "--on", f"{os.environ.get('USER', 'root')}@{NAME}:new")
    assert "Nothing was started on" in nothing_yet.err
    laptop.clusters(f'[{NAME}]\npython = "/nowhere/python"\n')
    said = laptop.call("list", "--on", NAME)
    assert said.code == 1
    assert "there is no /nowhere/python. Correct 'python' of cluster" in said.err
    bare = Path(sys.base_prefix, "bin", "python3")
    laptop.clusters(f'[{NAME}]\npython = "{bare}"\n')
    (laptop.work / "config.py").write_text("")
    said = laptop.call("run", "config.py", "--yes", "--on", NAME)
    assert f"{bare} on cluster cannot import hpctune: ModuleNotFoundError" in said.err
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "sh", "cat", "mkdir", "mv", "rm", "wc", "env"):
        (programs / name).symlink_to(str(shutil.which(name)))
    (sshd.home / ".bash_profile").write_text(f"export PATH={programs}\n")
    laptop.clusters(f"[{NAME}]\n")
    (laptop.work / "config.py").write_text("")
    said = laptop.call("run", "config.py", "--yes", "--on", NAME)
    assert said.code == 1
    assert 'there is no Python from 3.11 on in the login shell. Name a module that has one: modules = ["' in said.err
    laptop.clusters(f'[{NAME}]\nsetup = ["echo so not >&2; false"]\n')
    said = laptop.call("run", "config.py", "--yes", "--on", NAME)
    assert "a module or a line of 'setup' of cluster failed: so not" in said.err


def test_a_full_disk(laptop: Laptop) -> None:
    (laptop.work / "config.py").write_text("")
    with small_disk("1m") as disk:
        laptop.clusters(f'[{NAME}]\ndirectory = "{disk}/hpctune"\n')
        filler = fill(disk)
        said = laptop.call("run", "config.py", "--yes", "--on", NAME)
        assert said.code == 1
        assert re.search(r"No space left on device.*The disk or your quota there is full", said.err), said
        filler.unlink()
        (laptop.work / "data.bin").write_bytes(os.urandom(2_000_000))
        said = laptop.call("run", "config.py", "--code", "data.bin", "--yes", "--on", NAME)
        assert re.search(r"No space left on device.*The disk or your quota there is full", said.err), said
        assert not list(disk.glob("hpctune/files/.*")), "no part of a file is left"
        assert not list(disk.glob("hpctune/code/*"))


def test_through_a_jump_host_and_a_command(laptop: Laptop, sshd: Sshd, tmp_path: Path) -> None:
    with_jump = laptop.config.read_text() + "  ProxyJump gate\n"
    jump = Sshd(tmp_path / "gate", sshd.home, {})
    jump.start("LogLevel DEBUG")
    try:
        user = getpass.getuser()
        gate = f"Host gate\n  HostName 127.0.0.1\n  Port {jump.port}\n  User {user}\n"
        laptop.config.write_text(with_jump + gate)
        assert f"[127.0.0.1]:{jump.port} is in" in laptop.call("list", "--on", NAME).err, "each host must be known"
        laptop.knows(jump)
        assert "127.0.0.1 (port" in laptop.call("list", "--on", NAME).err, "and each must let the user in"
        laptop.may_enter(jump)
        assert entered(laptop)
        assert "direct-tcpip" in jump.log.read_text()
    finally:
        jump.stop()
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    proxied = with_jump.replace("ProxyJump gate", f"ProxyCommand {sys.executable} {relay} %h %p")
    laptop.config.write_text(proxied)
    assert entered(laptop)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "--on", "nowhere"], "There is no cluster 'nowhere'"),
        (["run", "config.py", "--profile", "there", "--on", "nowhere"], "There is no cluster 'nowhere'"),
        (["run", "config.py", "--profile", "here", "--", "--on", "nowhere"], "There is no profile 'here'"),
        (["run", "config.py", "--detach"], "--detach is for a cluster that is reached over ssh. Add --on CLUSTER"),
        (["run", "config.py", "--on", NAME, "--storage-path", "x"], "must be absolute, or begin with ~"),
        (["run", "--on", NAME], "No config file was named"),
        (["run", "nothing.py", "--on", NAME], "There is no file"),
        (["plot", "--on", NAME], "plot has no --on. Bring the experiment here"),
        (["fetch", "s3://a/b", "--on", NAME], "is fetched without --on"),
    ],
)
def test_mistakes_are_told_before_anything_is_done(laptop: Laptop, words: list[str], told: str) -> None:
    (laptop.work / "config.py").write_text("")
    said = laptop.call(*words)
    assert said.code == 2
    assert told in said.err


def test_a_key_of_the_agent(laptop: Laptop) -> None:
    """The key's file is locked, and the agent has it unlocked: nothing is asked."""
    socket = laptop.home / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(socket.exists, what="the agent")
        env = {"SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", laptop.identity], env={**laptop.environment(), **env}, check=True)
        change = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", laptop.identity]
        subprocess.run(change, check=True, stdout=subprocess.DEVNULL)
        assert "there is no terminal to ask" in laptop.call("list", "--on", NAME).err
        assert "There is no experiment in" in laptop.call("list", "--on", NAME, env=env).err

        laptop.config.write_text(f"{laptop.config.read_text()}  IdentityFile {laptop.identity}.pub\n")
        assert "There is no experiment in" in laptop.call("list", "--on", NAME, env=env).err, "named by its public key"
        told = laptop.call("list", "--on", NAME, env={"SSH_AUTH_SOCK": str(laptop.home / "none")}).err
        assert f"{laptop.identity}.pub (the agent does not have its private key)" in told
    finally:
        agent.kill()
        agent.wait()
