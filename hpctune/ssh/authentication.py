"""Who the user is: keys of the agent and of files, then passwords and codes, which are asked for and never kept."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpctune.errors import RemoteClusterError
from hpctune.ssh.ssh_config import SshHost, usual_keys

if TYPE_CHECKING:
    from paramiko import PKey, Transport

TRIES = 3
Ask = Callable[[str, bool], str]
"""Asks for one answer: the question, and whether the answer may be shown."""


def refusing_to_ask(why: str) -> Ask:
    """What answers nothing, and raises RemoteClusterError instead. ``why``: the reason, and what helps."""

    def refuse(question: str, shown: bool) -> str:
        raise RemoteClusterError(f"The server asks {question.strip()!r}, and {why}")

    return refuse


def ask_on_terminal(question: str, shown: bool) -> str:
    """Ask the user. Raises RemoteClusterError if there is no terminal."""
    if not sys.stdin.isatty():
        refusing_to_ask(
            "there is no terminal to ask the user. Load a key into the agent (ssh-add), or call the command in a "
            "terminal."
        )(question, shown)
    if not shown:
        return getpass.getpass(question)
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\n")


class Authentication:
    """Logs a user in on one server. ``asked``: whether the user had to answer, so it cannot be repeated silently."""

    def __init__(self, host: SshHost, ask: Ask = ask_on_terminal) -> None:
        self._host, self._ask = host, ask
        self.asked = False
        self._tried: list[str] = []
        self._unlocked: dict[Path, PKey] = {}

    def log_in(self, transport: Transport) -> None:
        """Authenticate. Raises RemoteClusterError if the server accepts nothing that the user has."""
        import paramiko

        try:
            left = self._log_in(transport)
        except paramiko.AuthenticationException as error:
            if not self._tried and not transport.is_active():  # it was cut before anything was offered
                raise paramiko.SSHException(str(error)) from error
            raise self._refused(f"{error}".rstrip(".")) from error
        except paramiko.SSHException as error:
            if self._tried and not transport.is_active():
                raise self._refused(f"the server ended the connection ({error})") from error
            raise
        if left:
            keys = left == ["publickey"]
            raise self._refused("it accepts none of your keys" if keys else f"it also wants: {', '.join(left)}")

    def _log_in(self, transport: Transport) -> list[str]:
        """Returns what the server still wants; empty: the user is in."""
        import paramiko

        user = self._host.user
        try:
            return list(transport.auth_none(user))
        except paramiko.BadAuthenticationType as error:
            wanted = list(error.allowed_types)
        if "publickey" in wanted:
            wanted = self._by_keys(transport, wanted)
        for _ in range(2):  # a server may want a password and then a code, or the other way round
            for kind, step in (("keyboard-interactive", self._by_answers), ("password", self._by_password)):
                if kind in wanted:
                    wanted = step(transport)
                    break
            if not wanted:
                break
        return wanted

    def _by_keys(self, transport: Transport, wanted: list[str]) -> list[str]:
        import paramiko

        for name, key in self._keys():
            self._tried.append(name)
            try:
                return list(transport.auth_publickey(self._host.user, key))
            except paramiko.BadAuthenticationType as error:
                wanted = list(error.allowed_types)
            except paramiko.AuthenticationException:
                continue
        return [kind for kind in wanted if kind != "publickey"] or wanted

    def _keys(self) -> Iterator[tuple[str, PKey]]:
        agent = {bytes(key): key for key in self._agent_keys()}
        files = self._host.identities or usual_keys()
        for path in files:
            held = agent.pop(_public(path), None)
            key = held if held is not None else self._load(path)
            if key is not None:
                yield str(path), key
        if not self._host.identities_only:
            for key in agent.values():
                yield f"agent key {key.fingerprint}", key

    def _agent_keys(self) -> list[Any]:
        import paramiko

        if self._host.agent == "none":
            return []
        before = os.environ.get("SSH_AUTH_SOCK")
        try:
            if self._host.agent:
                os.environ["SSH_AUTH_SOCK"] = self._host.agent
            return list(paramiko.Agent().get_keys())
        except (paramiko.SSHException, OSError):
            return []
        finally:
            if before is not None:
                os.environ["SSH_AUTH_SOCK"] = before
            elif self._host.agent:
                os.environ.pop("SSH_AUTH_SOCK", None)

    def _load(self, path: Path) -> PKey | None:
        import paramiko

        if path in self._unlocked:
            return self._unlocked[path]
        if not path.is_file():
            if path in self._host.identities:
                self._tried.append(f"{path} (there is no such file)")
            return None
        if path.suffix == ".pub":
            self._tried.append(f"{path} (the agent does not have its private key)")
            return None
        passphrase: Any = None  # bytes: paramiko says str, and hands it to a library that takes bytes only
        for _ in range(TRIES + 1):
            try:
                key = paramiko.PKey.from_path(str(path), passphrase)
            except (paramiko.SSHException, ValueError, TypeError, OSError) as error:
                if passphrase is None and not _is_locked(error):
                    self._tried.append(f"{path} ({error})")
                    return None
                wrong = "" if passphrase is None else "Wrong. "
                passphrase = self._question(f"{wrong}Passphrase of {path}: ", shown=False).encode()
                continue
            self._unlocked[path] = key
            return key
        self._tried.append(f"{path} (wrong passphrase)")
        return None

    def _question(self, text: str, *, shown: bool) -> str:
        self.asked = True
        return self._ask(text, shown)

    def _by_answers(self, transport: Transport) -> list[str]:
        def answers(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
            for text in (title, instructions):
                if text.strip() and prompts:
                    print(text.strip(), file=sys.stderr)
            return [self._question(f"({self._host}) {text}", shown=shown) for text, shown in prompts]

        self._tried.append("answers to its questions")
        return list(transport.auth_interactive(self._host.user, answers))

    def _by_password(self, transport: Transport) -> list[str]:
        self._tried.append("password")
        text = self._question(f"Password of {self._host}: ", shown=False)
        return list(transport.auth_password(self._host.user, text, fallback=False))

    def _refused(self, why: str) -> RemoteClusterError:
        tried = ", ".join(self._tried) or "no key: none is in the agent or in ~/.ssh"
        return RemoteClusterError(
            f"{self._host} does not let you in: {why}. Tried: {tried}. Name the right key with IdentityFile in "
            "~/.ssh/config, or load it: ssh-add FILE"
        )


def _public(path: Path) -> bytes:
    """The public key of a file, as the agent has it. The file may be that of the public key itself."""
    import base64

    try:
        return base64.b64decode((path if path.suffix == ".pub" else Path(f"{path}.pub")).read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return b""


def _is_locked(error: Exception) -> bool:
    """Whether a key could not be read because it needs a passphrase."""
    import paramiko

    return isinstance(error, (paramiko.PasswordRequiredException, TypeError))
