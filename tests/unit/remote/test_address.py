"""What ``--on`` may be, and what ``clusters.toml`` may have."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from hpctune.errors import UsageError
from hpctune.remote.address import RemoteCluster, find


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".config" / "hpctune").mkdir(parents=True)
    return tmp_path


def entries(home: Path, text: str) -> None:
    (home / ".config" / "hpctune" / "clusters.toml").write_text(text)


def test_an_entry_has_all_fields(home: Path) -> None:
    entries(
        home,
        """[big]
host = "login.example.org"
user = "me"
port = 2222
directory = "$SCRATCH/hpctune"
python = "~/env/bin/python"
modules = ["python/3.12"]
setup = ["ulimit -n 4096"]
driver = "login"
options = ["-p", "gpu"]
wheels = "~/wheels"
system_packages = true
""",
    )
    assert find("big") == RemoteCluster(
        "big", "login.example.org", "me", 2222, "$SCRATCH/hpctune", "~/env/bin/python", ("python/3.12",),
        ("ulimit -n 4096",), "login", ("-p", "gpu"), "~/wheels", True,
    )  # fmt: skip


def test_an_entry_may_be_empty(home: Path) -> None:
    entries(home, "[big]\n")
    assert find("big") == RemoteCluster("big", "big")


@pytest.mark.parametrize(
    ("text", "user", "host", "directory"),
    [
        ("me@login1", "me", "login1", "hpctune"),
        ("me@login1:/work/me", "me", "login1", "/work/me"),
        ("login1:$WORK/x", None, "login1", "$WORK/x"),
        ("me@[::1]:x", "me", "::1", "x"),
    ],
)
def test_an_address(text: str, user: str | None, host: str, directory: str) -> None:
    found = find(text)
    assert (found.user, found.host, found.directory) == (user, host, directory)


def test_a_host_of_the_ssh_configuration(home: Path) -> None:
    (home / ".ssh" / "config").write_text("Host big small\n  HostName 10.0.0.1\nHost *.example.org\n  User me\n")
    assert find("small").host == "small"
    with pytest.raises(UsageError, match=r"There is no cluster 'bgi'.*Did you mean 'big'\? .*user@host"):
        find("bgi")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[big]\nhots = "x"\n', "unknown key 'hots'. Did you mean 'host'"),
        ('[big]\npassword = "x"\n', "It is a secret, and belongs into the ssh agent"),
        ("[big]\nport = 99999\n", "port must be a number from 1 to 65535, not 99999"),
        ("[big]\nport = true\n", "port must be a number"),
        ('[big]\nmodules = "python"\n', "modules must be a list of texts"),
        ('[big]\nsetup = ["a\\nb"]\n', "setup must be a list of texts without line breaks"),
        ('[big]\ndriver = "cloud"\n', "driver must be one of auto, sbatch, login, not 'cloud'"),
        ("[big]\nhost = 5\n", "host must be a text of one line, not 5"),
        ('[big]\ndirectory = ""\n', "directory must be a text"),
        ("[big]\nsystem_packages = 1\n", "must be true or false"),
        ("big = 1\n", "'big' in .* must be a table"),
        ("[big\n", "clusters.toml cannot be read"),
    ],
)
def test_a_wrong_entry_is_refused(home: Path, text: str, words: str) -> None:
    entries(home, text)
    with pytest.raises(UsageError, match=words):
        find("big")


def test_the_entry_in_the_documentation(home: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "from-a-laptop.md").read_text()
    block = page.partition("```toml file=clusters.toml\n")[2].partition("```")[0]
    entries(home, block)
    assert find("cluster").modules == ("python/3.12",)
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"(?m)^\| ((?:`\w+`(?:, )?)+) \|", page))))
    assert listed >= {field.name for field in fields(RemoteCluster)} - {"name"}
