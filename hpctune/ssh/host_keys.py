"""Whether a server is the one that it was before: known_hosts, strictly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpctune.common.text import quoted
from hpctune.errors import RemoteClusterError
from hpctune.ssh.ssh_config import SshHost

if TYPE_CHECKING:
    from paramiko import PKey

_RSA = ("rsa-sha2-512", "rsa-sha2-256")
"""Names by which a server may prove that it has a key of the kind ssh-rsa."""


class KnownHosts:
    """The keys by which a host is known."""

    def __init__(self, host: SshHost) -> None:
        import paramiko

        self._host = host
        keys = paramiko.HostKeys()
        for path in host.known_hosts:
            try:
                keys.load(str(path))
            except OSError:
                continue
            except paramiko.hostkeys.InvalidHostKey as error:
                raise RemoteClusterError(f"{path} has a line that is not readable: {error.line.strip()}") from error
        self._known = dict(keys.lookup(host.known_as) or {})

    def preferred(self, possible: tuple[str, ...]) -> tuple[str, ...]:
        """``possible`` kinds of keys, those that are known here first: so a server shows a key that can be compared."""
        wanted = [name for kind in self._known for name in (_RSA if kind == "ssh-rsa" else (kind,))]
        return (*(n for n in wanted if n in possible), *(n for n in possible if n not in wanted))

    def check(self, key: PKey) -> None:
        """Raise RemoteClusterError unless ``key`` is known for the host."""
        if self._known.get(key.get_name()) == key:
            return
        host = self._host
        own = next(iter(host.known_hosts), Path("~/.ssh/known_hosts").expanduser())
        accept = f"echo {quoted(f'{host.known_as} {key.get_name()} {key.get_base64()}')} >> {quoted(own)}"
        shown = (
            f"Its key is {key.get_name()} {key.fingerprint}. Compare this fingerprint with that which the site states"
        )
        if not self._known:
            make = "" if own.parent.is_dir() else f"mkdir -p -m 700 {quoted(own.parent)} && "
            raise RemoteClusterError(
                f"{host.hostname} is not known: no key of {host.known_as} is in {own}. {shown}, then accept it:\n"
                f"  {make}{accept}"
            )
        raise RemoteClusterError(
            f"THE KEY OF {host.hostname} HAS CHANGED: it is another one than {own} has for {host.known_as}. Either the "
            f"server was set up again, or somebody is in between. Nothing was sent. {shown}; only if it is the same:\n"
            f"  ssh-keygen -R {quoted(host.known_as)} -f {quoted(own)} && {accept}"
        )
