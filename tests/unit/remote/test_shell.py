"""The command lines for the cluster, run by the shells that are here, with an unkind profile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpctune.remote import shell
from hpctune.remote.address import RemoteCluster

SHELLS = [name for name in ("sh", "bash", "dash", "zsh", "csh", "tcsh") if shutil.which(name)]
NASTY = ["two\nlines", "it's", 'a "b"', "$(touch pwned)", "`touch pwned`", "a;b", "*", "-x", "", "ü", "a\\b", "!1"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".bash_profile").write_text("echo welcome; echo noise >&2; read line; export FROM_PROFILE=1\n")
    return tmp_path


def run(home: Path, line: str, login: str = "sh", stdin: str = "") -> subprocess.CompletedProcess[str]:
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "WORK": str(home / "work dir"), "HPCTUNE_ON": "elsewhere"}
    return subprocess.run(
        [login, "-c", line], input=stdin, env=env, cwd=home, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("login", SHELLS)
def test_every_word_arrives_as_it_is(home: Path, login: str) -> None:
    cluster = RemoteCluster("big", "big", python=sys.executable)
    tell = "import sys; print(sys.argv[1:], sys.stdin.read())"
    (home / "hpctune").mkdir()
    (home / "hpctune" / "tell.py").write_text(tell)
    done = run(home, shell.program(cluster, "tell.py", NASTY), login, stdin="all of it\n")
    assert (done.stdout, done.stderr) == (f"{NASTY} all of it\n\n", "")
    assert not list(home.rglob("pwned"))


@pytest.mark.parametrize(
    ("directory", "made"),
    [
        ("a b/c", "a b/c"), ("~/x", "x"), ("$WORK/it's", "work dir/it's"), ("${WORK}", "work dir"), ("~", "."),
        ("a;touch pwned", "a;touch pwned"),
    ],
)  # fmt: skip
def test_directories(home: Path, directory: str, made: str) -> None:
    cluster = RemoteCluster("big", "big", directory=directory, setup=("export A='1 2' # a remark", "true & wait"))
    done = run(home, shell.in_login_shell(cluster, 'pwd; echo "$A $FROM_PROFILE ${HPCTUNE_ON-none}"'))
    assert done.stdout.splitlines() == [str((home / made).resolve()), "1 2 1 none"]
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({"directory": "$NOT_SET/x"}, None, "NOT_SET"),
        ({"directory": "/proc/hpctune"}, shell.NO_DIRECTORY, "/proc/hpctune"),
        ({"setup": ("echo so not >&2; false",)}, shell.NOT_SET_UP, "so not"),
        ({"modules": ("python/3.99",)}, shell.NOT_SET_UP, "module"),
    ],
)
def test_what_is_in_the_way_has_a_code(home: Path, given: dict[str, str], code: int | None, words: str) -> None:
    done = run(home, shell.in_login_shell(RemoteCluster("big", "big", **given), "echo reached"))  # type: ignore[arg-type]
    assert words in done.stderr
    assert done.returncode == code or (code is None and done.returncode != 0)
    assert "reached" not in done.stdout


def test_a_file_is_stored_whole_or_not_at_all(home: Path) -> None:
    cluster = RemoteCluster("big", "big")
    assert run(home, shell.store(cluster, "programs/a", 5), stdin="12").returncode != 0
    assert not list(home.glob("hpctune/programs/*"))
    assert not list(home.glob("hpctune/programs/.*"))
    assert run(home, shell.store(cluster, "programs/a", 5), stdin="12345").returncode == 0
    assert (home / "hpctune" / "programs" / "a").read_text() == "12345"


def test_what_is_missing(home: Path) -> None:
    cluster = RemoteCluster("big", "big")
    assert run(home, shell.hpctune(cluster, ["list"], {}, terminal=True)).returncode == shell.NO_ENVIRONMENT
    assert run(home, shell.program(cluster, "programs/a", ["look"])).returncode == shell.NO_PROGRAM
    other = RemoteCluster("big", "big", python="/nowhere/python")
    assert run(home, shell.program(other, "programs/a", ["look"])).returncode == shell.NO_PYTHON
