"""A real sshd in front of "a cluster": another HOME, another directory, its own keys; and a laptop that may reach it.

Both accounts are that of the tests. ForceCommand gives each session the cluster's environment, so nothing of the laptop
is visible there but what came over the connection.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import pty
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
NAME = "cluster"
HELPER = "def loss(x, step):\n    return (x - 2) ** 2 + 1 / step\n"
"""A module of the project, which the script imports."""
SFTP = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")


def sshd_program() -> str:
    """Where sshd is; skip where it is not installed, except in CI, where that is a failure."""
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have OpenSSH's server: openssh-server.")
        pytest.skip("OpenSSH's server is not installed: openssh-server.")
    return found


def key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True, stdin=subprocess.DEVNULL)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Sshd:
    """A server on the loopback interface. ``home``: that of its account."""

    directory: Path
    home: Path
    variables: dict[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        sshd_program()
        self.directory.mkdir()
        self.home.mkdir(exist_ok=True)
        self.host_key = key(self.directory / "host")
        self.authorized = self.directory / "authorized_keys"
        self.authorized.touch()
        self.log = self.directory / "sshd.log"

    def start(self, *options: str) -> None:
        """Start it, and wait until it listens. ``options`` go before ours."""
        env = {"HOME": str(self.home), **self.variables}
        sftp = next((place for place in SFTP if Path(place).exists()), SFTP[0])
        wrapper = self.directory / "session"
        wrapper.write_text(
            "#!/bin/sh\n"
            + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())
            + f"cd {shlex.quote(str(self.home))}\n"
            + 'case "$SSH_ORIGINAL_COMMAND" in\n  "") exec bash ;;\n'
            + f"  */sftp-server*|internal-sftp*) exec {sftp} ;;\n"
            + '  *) exec bash -c "$SSH_ORIGINAL_COMMAND" ;;\nesac\n'
        )
        wrapper.chmod(0o755)
        lines = [
            *options, f"Port {self.port}", "ListenAddress 127.0.0.1",
            f"HostKey {self.host_key}", "PidFile none", "UsePAM no",
            "StrictModes no", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
            f"AuthorizedKeysFile {self.authorized}", f"Subsystem sftp {sftp}",
            "PermitRootLogin yes",
            f"ForceCommand {wrapper}", "LogLevel VERBOSE", "MaxStartups 100:30:200", "PerSourceMaxStartups none",
        ]  # fmt: skip
        config = self.directory / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        command = [sshd_program(), "-D", "-e", "-f", str(config)]
        with contextlib.suppress(OSError):
            Path("/run/sshd").mkdir(exist_ok=True)  # where it separates its privileges, if it is started by root
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(lambda: self._listens(), what=f"sshd to listen: {self.log.read_text()}")

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self) -> None:
        """End it; its sessions too."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


@dataclass
class Laptop:
    """An account with a HOME of its own, and ``hpctune`` in it."""

    home: Path
    work: Path

    def __post_init__(self) -> None:
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        self.work.mkdir()
        self.identity = key(self.home / ".ssh" / "id_ed25519")

    @property
    def config(self) -> Path:
        return self.home / ".ssh" / "config"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    def clusters(self, text: str) -> None:
        path = self.home / ".config" / "hpctune" / "clusters.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def knows(self, sshd: Sshd, port: int | None = None) -> None:
        public = sshd.host_key.with_suffix(".pub").read_text().split()
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port or sshd.port} {public[0]} {public[1]}\n")

    def may_enter(self, sshd: Sshd) -> None:
        with sshd.authorized.open("a") as file:
            file.write(self.identity.with_suffix(".pub").read_text())

    def environment(self) -> dict[str, str]:
        foreign = ("SLURM", "SBATCH_", "TUNE_", "HPCTUNE_", "RAY_", "SSH_", "XDG_", "GIT_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return env | {"HOME": str(self.home), "USER": "me", "GIT_CONFIG_GLOBAL": os.devnull}

    def start(self, *words: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(BIN / "hpctune"), *map(str, words)], cwd=self.work, env=self.environment() | (env or {}), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def call(self, *words: str | Path, timeout: float = 120, env: dict[str, str] | None = None) -> Said:
        process = self.start(*words, env=env)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{words} did not end:\n{out}\n{err}") from None
        return Said(process.returncode, out, err)

    def in_terminal(self, *words: str, columns: int = 100, answers: dict[str, str] | None = None) -> Said:
        """Call it with a terminal for all its streams. ``answers``: what is typed when a text appears."""
        master, slave = pty.openpty()
        import fcntl
        import struct
        import termios

        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        env = {
            name: value for name, value in self.environment().items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        process = subprocess.Popen(
            [str(BIN / "hpctune"), *words], cwd=self.work, env=env | {"TERM": "xterm"}, stdin=slave, stdout=slave,
            stderr=slave, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        left, text = dict(answers or {}), ""
        with contextlib.suppress(OSError):
            while data := os.read(master, 4096):
                text += data.decode(errors="replace")
                for question in [q for q in left if q in text]:
                    os.write(master, left.pop(question).encode() + b"\n")
        os.close(master)
        return Said(process.wait(60), text, "")


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"code {self.code}\n-- stdout\n{self.out}\n-- stderr\n{self.err}"


def wait_for(predicate: object, timeout_s: float = 30.0, what: str = "") -> None:
    deadline = time.monotonic() + timeout_s
    while not predicate():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what or 'a condition'}")
        time.sleep(0.05)


class Proxy:
    """A TCP proxy in front of a server. It cuts connections after a number of bytes, or freezes them.

    ``budget()``: after how many bytes the next connection is cut; None: never.
    """

    def __init__(self, port: int, seed: int = 0) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = int(self._listener.getsockname()[1])
        self.random = random.Random(seed)
        self.between: tuple[int, int] | None = None
        self.cuts = 0
        self.frozen = threading.Event()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections now."""
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # the server is down
                    near.close()
                    continue
                self._open |= {near, far}
                left = [self.random.randint(*self.between) if self.between else -1]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(a, b, left), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, left: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(8192):
                while self.frozen.is_set():
                    time.sleep(0.05)
                if left[0] >= 0:
                    data, left[0] = data[: left[0]], max(0, left[0] - len(data))
                sink.sendall(data)
                if left[0] == 0:
                    self.cuts += 1
                    break
        for end in (source, sink):
            self._open.discard(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def cluster_processes(home: Path) -> list[int]:
    """The processes whose HOME is the cluster's."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"HOME={home}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


@contextlib.contextmanager
def nothing_left(home: Path) -> Iterator[None]:
    """End what still runs on the cluster."""
    try:
        yield
    finally:
        for pid in cluster_processes(home):
            if pid != os.getpid():
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A server that the laptop may enter. Its account has a Python with hpctune."""
    (tmp_path / "there").mkdir()
    keep = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    path = f"{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin"
    server = Sshd(tmp_path / "sshd", tmp_path / "there" / "home", {"PATH": path, "USER": "me", **keep})
    (server.home / ".bash_profile").write_text(f"export PATH={path}\necho 'Welcome to the cluster!'\n")
    with nothing_left(server.home):
        server.start()
        yield server
        server.stop()


@pytest.fixture
def laptop(tmp_path: Path, sshd: Sshd) -> Laptop:
    """It knows the server, and may enter it as ``cluster``."""
    made = Laptop(tmp_path / "here", tmp_path / "work")
    made.may_enter(sshd)
    made.knows(sshd)
    made.config.write_text(f"Host {NAME}\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {getpass.getuser()}\n")
    made.clusters(f'[{NAME}]\npython = "{sys.executable}"\n')
    return made


@pytest.fixture
def proxy(laptop: Laptop, sshd: Sshd) -> Iterator[Proxy]:
    """In front of the server; the laptop goes through it."""
    made = Proxy(sshd.port)
    laptop.knows(sshd, made.port)
    laptop.config.write_text(laptop.config.read_text().replace(f"Port {sshd.port}", f"Port {made.port}"))
    yield made
    made.close()
