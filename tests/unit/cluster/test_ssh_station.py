"""What starts the agent on a workstation."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hpctune.cluster.ssh.agent import search_path
from hpctune.cluster.ssh.options import SshOptions
from hpctune.cluster.ssh.station import Station

LINE = r"""printf '%s' 'a\\b' \' "it's ünique! $HOME" > said  # who's there?"""


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "tcsh"])
def test_any_login_shell_starts_the_agent(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    options = SshOptions(hosts=["ws1"], setup=["true", LINE], python="echo")
    station = Station(options.workstations[0], options, "0123", tmp_path, set)
    done = subprocess.run(
        [shell, "-c", station._command()], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "-u -m hpctune.cluster.ssh.agent\n"), done
    assert (tmp_path / "said").read_text() == rf"a\\b'it's ünique! {tmp_path}"


def test_a_program_finds_the_interpreter_of_the_machine() -> None:
    assert search_path({"PATH": "/usr/bin"}, "/home/ann/env/bin/python") == "/home/ann/env/bin:/usr/bin"
    active = {"PATH": "/opt/conda/bin:/usr/bin", "CONDA_PREFIX": "/opt/conda"}
    assert search_path(active, "/home/ann/env/bin/python") == active["PATH"]
