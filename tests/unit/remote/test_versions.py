"""Versions of hpctune that differ are told."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hpctune.errors import RemoteClusterError
from hpctune.remote import environment
from hpctune.remote.address import RemoteCluster
from hpctune.version import VERSION
from tests.support.ssh_lab import BIN


def test_a_command_tells_that_another_version_called_it(tmp_path: Path) -> None:
    def called_by(version: str) -> str:
        env = {**os.environ, "HPCTUNE_CLIENT_VERSION": version}
        return subprocess.run([BIN / "hpctune", "list", tmp_path], env=env, capture_output=True, text=True).stderr

    assert called_by("9.9.9").startswith(f"hpctune is {VERSION} on this cluster, and 9.9.9 where it was called.\n")
    assert "where it was called" not in called_by(VERSION)


def test_an_interpreter_with_another_version(caplog: pytest.LogCaptureFixture) -> None:
    session: Any = SimpleNamespace(cluster=RemoteCluster("big", "big", python="/x/python"))
    with caplog.at_level(logging.WARNING, "hpctune"):
        assert environment.check_named(session, {"hpctune": VERSION, "interpreter": "/x/python"}) == "/x/python"
        assert not caplog.messages
        environment.check_named(session, {"hpctune": "9.9.9", "interpreter": "/x/python"})
    assert f"hpctune is 9.9.9 on big and {VERSION} here" in caplog.text
    with pytest.raises(RemoteClusterError, match="/x/python on big cannot import hpctune: no"):
        environment.check_named(session, {"hpctune": None, "why": "no", "interpreter": "/x/python"})
