"""What ``~/.ssh/config`` and ``/etc/ssh/ssh_config`` say about a host."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpctune.common import env
from hpctune.errors import UsageError

SYSTEM = Path("/etc/ssh/ssh_config")
ALIVE_INTERVAL_S = 15
ALIVE_COUNT = 3
CONNECT_S = 30
MAX_DEPTH = 16
USUAL = ("id_ed25519", "id_ecdsa", "id_rsa")
_INCLUDE = re.compile(r"^\s*include(?:\s*=\s*|\s+)(.+)$", re.IGNORECASE)
_BLOCK = re.compile(r"^\s*(?:host|match)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SshHost:
    """How a host is reached. ``name``: as it was asked for. ``identities``: the IdentityFile lines; empty: the usual
    ones. ``agent``: a socket, "" for that of the environment, "none". ``jump``: the hosts in between. Times in
    seconds."""

    name: str
    hostname: str
    port: int
    user: str
    identities: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str = ""
    jump: tuple[str, ...] = ()
    proxy_command: str | None = None
    known_hosts: tuple[Path, ...] = ()
    key_alias: str | None = None
    alive_interval_s: int = ALIVE_INTERVAL_S
    alive_count: int = ALIVE_COUNT
    connect_s: int = CONNECT_S

    @property
    def known_as(self) -> str:
        """The name in known_hosts."""
        name = self.key_alias or self.hostname.lower()
        return name if self.key_alias or self.port == 22 else f"[{name}]:{self.port}"

    def __str__(self) -> str:
        return f"{self.user}@{self.hostname}" + ("" if self.port == 22 else f" (port {self.port})")


def hosts() -> list[str]:
    """The names that ``~/.ssh/config`` has a Host for; no patterns."""
    return sorted(name for name in _parsed().get_hostnames() if not any(c in name for c in "*?!"))


def lookup(name: str, user: str | None = None, port: int | None = None) -> SshHost:
    """How to reach ``name``. Raises UsageError for a configuration that cannot be read."""
    import paramiko

    try:
        found = dict(_parsed().lookup(name))
        made = _host(name, found)
    except UsageError:
        raise
    except (paramiko.SSHException, ValueError) as error:
        raise UsageError(f"~/.ssh/config cannot be used for {name!r}: {error}.") from error
    return replace(made, user=user or made.user, port=port or made.port)


def without_agent(host: SshHost) -> SshHost:
    """The host as a process reaches it that has no agent, such as a job."""
    return replace(host, agent="none")


def _host(name: str, found: dict[str, Any]) -> SshHost:
    jump = str(found.get("proxyjump", "none"))
    agent = str(found.get("identityagent", ""))
    return SshHost(
        name=name,
        hostname=str(found.get("hostname", name)),
        port=int(found.get("port", 22)),
        user=str(found.get("user") or getpass.getuser()),
        identities=_identities(found),
        identities_only=str(found.get("identitiesonly", "no")).lower() == "yes",
        agent=str(_path(agent)) if agent not in ("", "SSH_AUTH_SOCK") else "",
        jump=() if jump.lower() == "none" else tuple(hop.strip() for hop in jump.split(",")),
        proxy_command=found.get("proxycommand"),
        known_hosts=_known_hosts(found),
        key_alias=found.get("hostkeyalias"),
        alive_interval_s=int(found.get("serveraliveinterval", 0)) or ALIVE_INTERVAL_S,
        alive_count=int(found.get("serveralivecountmax", ALIVE_COUNT)),
        connect_s=int(found.get("connecttimeout", CONNECT_S)),
    )  # fmt: skip


def _identities(found: dict[str, Any]) -> tuple[Path, ...]:
    """The files of IdentityFile; before them, the key that the environment names."""
    files = tuple(_path(text) for text in found.get("identityfile", ()) if text != "none")
    first = env.cluster_ssh_key()
    if first is None:
        return files
    return (first, *(files or tuple(path for path in usual_keys() if path.is_file())))


def usual_keys() -> tuple[Path, ...]:
    """Where keys are that no configuration names."""
    return tuple(Path("~/.ssh", name).expanduser() for name in USUAL)


def _path(text: str) -> Path:
    return Path(text.strip('"')).expanduser()


def _known_hosts(found: dict[str, Any]) -> tuple[Path, ...]:
    own = str(found.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"))
    everyone = str(found.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"))
    words = [text.strip('"').replace("%d", str(Path.home())) for text in f"{own} {everyone}".split()]
    return tuple(Path(text).expanduser() for text in words if text.lower() != "none")


def _parsed() -> Any:
    import paramiko

    lines = [*_lines(Path("~/.ssh/config").expanduser(), Path("~/.ssh").expanduser()), "Host *"]
    lines += _lines(SYSTEM, SYSTEM.parent)
    try:
        return paramiko.SSHConfig.from_text("\n".join(lines))
    except paramiko.SSHException as error:
        raise UsageError(f"~/.ssh/config cannot be read: {error}.") from error


def _lines(path: Path, home: Path, depth: int = 0) -> Iterator[str]:
    """The lines of a file, with the files that it includes in their places. A missing file has none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    block = ""
    for line in text.splitlines():
        block = line if _BLOCK.match(line) else block
        named = _INCLUDE.match(line)
        if named is None:
            yield line
        elif depth < MAX_DEPTH:
            for pattern in named[1].split():
                whole = Path(pattern.strip('"')).expanduser()
                whole = whole if whole.is_absolute() else home / whole
                for included in sorted(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor)))):
                    yield from _lines(included, home, depth + 1)
            yield block or "Host *"
