"""What of the ssh configuration is honoured."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpctune.errors import UsageError
from hpctune.ssh import ssh_config
from hpctune.ssh.ssh_config import lookup


@pytest.fixture(autouse=True)
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(ssh_config, "SYSTEM", tmp_path / "etc" / "ssh_config")
    (tmp_path / ".ssh").mkdir()
    return tmp_path / ".ssh"


def test_without_a_configuration() -> None:
    found = lookup("login1", "me", 2222)
    assert (found.hostname, found.port, found.user, found.jump) == ("login1", 2222, "me", ())
    assert found.known_as == "[login1]:2222"
    assert str(found) == "me@login1 (port 2222)"


def test_all_that_is_honoured(ssh: Path) -> None:
    (ssh / "config").write_text(
        """Host big
  HostName 10.0.0.1
  Port 2200
  User somebody
  IdentityFile ~/.ssh/one
  IdentityFile ~/.ssh/two
  IdentitiesOnly yes
  IdentityAgent none
  ProxyJump a,me@b:23
  HostKeyAlias bigone
  UserKnownHostsFile ~/.ssh/those
  ServerAliveInterval 5
  ServerAliveCountMax 2
  ConnectTimeout 7
Host proxied
  ProxyCommand nc %h %p
"""
    )
    found = lookup("big")
    assert (found.hostname, found.port, found.user) == ("10.0.0.1", 2200, "somebody")
    assert found.identities == (ssh / "one", ssh / "two")
    assert (found.identities_only, found.agent) == (True, "none")
    assert found.jump == ("a", "me@b:23")
    assert (found.known_as, found.known_hosts[0]) == ("bigone", ssh / "those")
    assert (found.alive_interval_s, found.alive_count, found.connect_s) == (5, 2, 7)
    assert lookup("proxied").proxy_command == "nc proxied 22"


def test_files_that_it_includes_and_that_of_the_system(ssh: Path, tmp_path: Path) -> None:
    (ssh / "config").write_text("Host big\n  Include conf.d/*\n  Port 2200\nHost *\n  User me\n")
    (ssh / "conf.d").mkdir()
    (ssh / "conf.d" / "a").write_text("HostName 10.0.0.9\nHost other\n  HostName 10.0.0.8\n")
    (ssh / "conf.d" / "b").write_text(f"Include {ssh}/config\n")  # round and round
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ssh_config").write_text("User root\nServerAliveInterval 3\n")
    found = lookup("big")
    assert (found.hostname, found.port, found.user, found.alive_interval_s) == ("10.0.0.9", 2200, "me", 3)
    assert ssh_config.hosts() == ["big", "other"]


def test_a_configuration_that_cannot_be_read(ssh: Path) -> None:
    (ssh / "config").write_text("Host big\n  Port many\n")
    with pytest.raises(UsageError, match="cannot be used for 'big'"):
        lookup("big")
