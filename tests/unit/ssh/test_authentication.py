"""Keys, second factors and refusals, against servers that speak the protocol. (What OpenSSH does is in tests/ssh.)"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from hpctune.errors import ConnectionLostError, RemoteClusterError
from hpctune.ssh import ssh_config
from hpctune.ssh.authentication import Authentication
from hpctune.ssh.connection import Connection, Traffic
from hpctune.ssh.ssh_config import SshHost
from tests.support.ssh_lab import Proxy


class Server(paramiko.ServerInterface):
    """One login. ``steps``: what it wants, one after the other. Records what it got."""

    def __init__(self, *steps: str, key: paramiko.PKey | None = None) -> None:
        self.steps, self._key = list(steps), key
        self.seen: list[str] = []

    def _passed(self, what: str, good: bool) -> int:
        self.seen.append(what)
        if not good or not self.steps or self.steps[0] != what:
            return paramiko.AUTH_FAILED
        self.steps.pop(0)
        return paramiko.AUTH_PARTIALLY_SUCCESSFUL if self.steps else paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username: str) -> str:
        return self.steps[0] if self.steps else ""

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self._passed("publickey", key == self._key)

    def check_auth_password(self, username: str, password: str) -> int:
        return self._passed("password", password == "secret")

    def check_auth_interactive(self, username: str, submethods: str) -> int | paramiko.InteractiveQuery:
        if self.get_allowed_auths(username) != "keyboard-interactive":
            return paramiko.AUTH_FAILED
        return paramiko.InteractiveQuery("Second factor", "Look at your phone.", ("Code: ", True), ("PIN: ", False))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return self._passed("keyboard-interactive", responses == ["123456", "0000"])

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._answer, args=(channel,), daemon=True).start()
        return True

    def _answer(self, channel: paramiko.Channel) -> None:
        channel.recv(1)  # until the client has its answer, and has nothing to say
        channel.sendall(b"out\n")
        channel.sendall_stderr(b"err\n")
        channel.send_exit_status(7)
        channel.close()


class Place:
    """A host that serves one connection."""

    def __init__(self, directory: Path) -> None:
        self.host_key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.known_hosts = directory / "known_hosts"
        self.known_hosts.write_text(
            f"[127.0.0.1]:{self.port} {self.host_key.get_name()} {self.host_key.get_base64()}\n"
        )
        self.transports: list[paramiko.Transport] = []

    def serve(self, server: Server) -> None:
        def accept() -> None:
            transport = paramiko.Transport(self._listener.accept()[0])
            transport.add_server_key(self.host_key)
            transport.start_server(server=server)
            self.transports.append(transport)

        threading.Thread(target=accept, daemon=True).start()

    def host(self, *identities: Path, **more: object) -> SshHost:
        given = {"identities": identities, "identities_only": True, "known_hosts": (self.known_hosts,), **more}
        return SshHost("there", "127.0.0.1", self.port, "me", **given)  # type: ignore[arg-type]

    def close(self) -> None:
        for transport in self.transports:
            transport.close()
        self._listener.close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(ssh_config, "SYSTEM", tmp_path / "nothing")
    made = Place(tmp_path)
    yield made
    made.close()


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    paramiko.ECDSAKey.generate().write_private_key_file(str(path))
    return path


class Answers:
    """Answers questions, and records them."""

    def __init__(self, *texts: str) -> None:
        self.left, self.asked = list(texts), list[tuple[str, bool]]()

    def __call__(self, question: str, shown: bool) -> str:
        self.asked.append((question, shown))
        return self.left.pop(0)


def test_a_key_and_then_a_code(place: Place, identity: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place.serve(Server("publickey", "keyboard-interactive", key=paramiko.PKey.from_path(str(identity))))
    answers, traffic = Answers("123456", "0000"), Traffic()
    connection = Connection(place.host(identity), traffic, answers)
    assert [(text.rpartition(") ")[2], shown) for text, shown in answers.asked] == [("Code: ", True), ("PIN: ", False)]
    assert "Look at your phone." in capsys.readouterr().err
    assert not connection.can_reconnect, "it would ask again"
    out, err = bytearray(), bytearray()
    assert connection.run("anything", (), out.extend, err.extend) == 7
    assert (bytes(out), bytes(err)) == (b"out\n", b"err\n")
    assert (traffic.received, traffic.sent) == (8, 0)
    connection.close()


def test_a_password_and_then_a_code(place: Place) -> None:
    place.serve(Server("password", "keyboard-interactive"))
    answers = Answers("secret", "123456", "0000")
    Connection(place.host(), Traffic(), answers).close()
    assert answers.asked[0] == (f"Password of me@127.0.0.1 (port {place.port}): ", False)


def test_a_key_with_a_passphrase_is_asked_for_once(place: Place, tmp_path: Path) -> None:
    path, key = tmp_path / "locked", paramiko.ECDSAKey.generate()
    key.write_private_key_file(str(path), "open sesame")
    place.serve(Server("publickey", key=key))
    answers, kept = Answers("wrong", "open sesame"), {}  # type: ignore[var-annotated]
    Connection(place.host(path), Traffic(), answers, kept).close()
    assert [text.split(" of ")[0] for text, _ in answers.asked] == ["Passphrase", "Wrong. Passphrase"]
    place.serve(Server("publickey", key=key))
    Connection(place.host(path), Traffic(), answers, kept).close()


def test_wrong_answers_and_no_terminal(place: Place, identity: Path) -> None:
    place.serve(Server("keyboard-interactive"))
    with pytest.raises(RemoteClusterError, match=r"does not let you in.*Tried: answers to its questions"):
        Connection(place.host(), Traffic(), Answers("1", "2"))
    place.serve(Server("keyboard-interactive"))
    with pytest.raises(RemoteClusterError, match=r"The server asks .*Code.* no terminal to ask"):
        Connection(place.host(), Traffic())
    place.serve(Server("publickey", key=paramiko.ECDSAKey.generate()))
    with pytest.raises(RemoteClusterError, match=r"it accepts none of your keys. Tried: .*/id\. .*ssh-add FILE"):
        Connection(place.host(identity), Traffic())
    place.serve(Server("publickey", key=paramiko.ECDSAKey.generate()))
    with pytest.raises(RemoteClusterError, match=r"missing \(there is no such file\)"):
        Connection(place.host(identity.with_name("missing")), Traffic())


def test_a_server_that_does_not_answer_is_lost(place: Place, identity: Path) -> None:
    proxy = Proxy(place.port)
    place.serve(Server("publickey", key=paramiko.PKey.from_path(str(identity))))
    host = place.host(identity, alive_interval_s=1, alive_count=1, key_alias=f"[127.0.0.1]:{place.port}")
    connection = Connection(replace(host, port=proxy.port), Traffic())
    proxy.frozen.set()
    with pytest.raises(ConnectionLostError, match=r"The connection to me@127.0.0.1 .* was lost"):
        connection.run("anything", None)
    connection.close()
    proxy.frozen.clear()
    proxy.close()


def test_nobody_is_there(tmp_path: Path, place: Place) -> None:
    place.close()
    with pytest.raises(ConnectionLostError, match=r"cannot be reached: .*refused.*Try by hand: ssh -p"):
        Connection(place.host(), Traffic())


def test_a_cut_before_anything_was_offered_is_no_refusal(tmp_path: Path) -> None:
    class Cut:
        def auth_none(self, user: str) -> None:
            raise paramiko.AuthenticationException("Authentication failed: transport shut down or saw EOF")

        def is_active(self) -> bool:
            return False

    login = Authentication(ssh_config.lookup("nowhere", None, None), lambda text, shown: "")
    with pytest.raises(paramiko.SSHException, match="saw EOF") as caught:
        login.log_in(Cut())  # type: ignore[arg-type]
    assert not isinstance(caught.value, paramiko.AuthenticationException)
