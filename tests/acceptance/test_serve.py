"""``hpctune serve`` as a user starts it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from hpctune.cli.main import cli
from tests.support.picture_support import search


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(tmp_path: Path, ending: signal.Signals) -> None:
    search(tmp_path / "one", trials=5)
    search(tmp_path / "two", trials=5)
    words = ["hpctune", "serve", str(tmp_path / "one"), str(tmp_path / "two"), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(5)]
        assert said[0] == "2 experiments. Open in a browser:\n"
        address = said[1].strip()
        port = re.search(r":(\d+)/", address)
        assert port is not None
        assert re.search(rf"ssh -N -L {port[1]}:127.0.0.1:{port[1]} \S+@\S+", said[3])
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert "two" in answer.read().decode()
        process.send_signal(ending)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_what_cannot_be_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))
    done = CliRunner().invoke(cli, ["serve"], standalone_mode=False)
    assert "There is no experiment in" in str(done.exception)
    search(tmp_path / "one", trials=2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = CliRunner().invoke(cli, ["serve", "one", "--port", str(port)], standalone_mode=False)
    assert f"--port={port}: Address already in use. Choose another port." in str(done.exception)
