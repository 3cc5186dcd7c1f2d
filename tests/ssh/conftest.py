"""A laptop, and a cluster behind a real sshd, for each test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .lab import BIN, NAME, Laptop, Sshd, nothing_left


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
    made.config.write_text(
        f"Host {NAME}\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {os.environ.get('USER', 'root')}\n"
    )
    made.clusters(f'[{NAME}]\npython = "{sys.executable}"\n')
    return made
