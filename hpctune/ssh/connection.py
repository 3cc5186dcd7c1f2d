"""One ssh connection: through jump hosts, to a server whose key is known, kept alive, counted."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpctune.common.backoff import Backoff
from hpctune.common.text import count, size
from hpctune.errors import ConnectionLostError, RemoteClusterError
from hpctune.ssh import ssh_config
from hpctune.ssh.authentication import Ask, Authentication, ask_on_terminal
from hpctune.ssh.host_keys import KnownHosts
from hpctune.ssh.ssh_config import SshHost

if TYPE_CHECKING:
    from paramiko import Channel, SFTPClient, Transport

BLOCK = 1 << 15
CLOSED = "Socket is closed"
"""What paramiko says of a channel that has ended."""
MAX_JUMPS = 8
ANSWER_S = 300.0
"""Seconds that a user may take to answer the server's questions."""
Sink = Callable[[bytes], object]


@dataclass(slots=True)
class Traffic:
    """What was exchanged: ``calls`` are requests whose answers were waited for; sizes in bytes, before encryption."""

    calls: int = 0
    files: int = 0
    sent: int = 0
    received: int = 0
    reconnects: int = 0

    def describe(self) -> str:
        """One line about it."""
        again = f", {count(self.reconnects, 'new connection')} after a loss" if self.reconnects else ""
        return (
            f"Sent {count(self.files, 'file')}, {size(self.sent)}; received {size(self.received)}; "
            f"{count(self.calls, 'call')}{again}."
        )


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal that the command there gets: its kind, and its size in characters."""

    kind: str
    columns: int
    rows: int


class Connection:
    """An open connection. Raises RemoteClusterError if it cannot be made, ConnectionLostError if it breaks.

    ``authentications``: of earlier connections, by host; they keep what was asked.
    """

    def __init__(
        self,
        host: SshHost,
        traffic: Traffic,
        ask: Ask = ask_on_terminal,
        authentications: dict[str, Authentication] | None = None,
    ) -> None:
        self.host, self.traffic = host, traffic
        self._ask = ask
        self._authentications = {} if authentications is None else authentications
        self._transports: list[Transport] = []
        self._closed = threading.Event()
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what matters is raised
        try:
            self._transport = self._open(host, host.jump)
        except BaseException:
            self.close()
            raise

    @property
    def can_reconnect(self) -> bool:
        """Whether a new connection needs no answers of the user."""
        return not any(one.asked for one in self._authentications.values())

    @property
    def alive(self) -> bool:
        """Whether it is open."""
        return self._transport.is_active()

    def close(self) -> None:
        """End it, and those to the hosts in between."""
        self._closed.set()
        for transport in reversed(self._transports):
            with contextlib.suppress(Exception):
                transport.close()

    # -- opening --------------------------------------------------------------------------------------------------

    def _open(self, host: SshHost, jumps: tuple[str, ...], depth: int = 0) -> Transport:
        import paramiko

        if depth > MAX_JUMPS:
            raise RemoteClusterError(
                f"{self.host.name}: ProxyJump in ~/.ssh/config leads through more than {MAX_JUMPS} hosts."
            )
        transport = None
        try:
            transport = paramiko.Transport(self._socket(host, jumps, depth))
            self._transports.append(transport)
            known = KnownHosts(host)
            transport.auth_timeout = ANSWER_S
            options = transport.get_security_options()
            options.key_types = known.preferred(tuple(options.key_types))
            transport.start_client(timeout=host.connect_s)
            known.check(transport.get_remote_server_key())
            self._authentications.setdefault(str(host), Authentication(host, self._ask)).log_in(transport)
            self.traffic.calls += 1
        except RemoteClusterError:
            raise
        except (paramiko.SSHException, OSError, EOFError) as error:
            if isinstance(error, paramiko.SSHException) and transport is not None and transport.is_active():
                raise RemoteClusterError(f"{host}: {_words(error)}.") from error
            by_hand = f"ssh {'' if host.port == 22 else f'-p {host.port} '}{host.user}@{host.hostname}"
            raise ConnectionLostError(f"{host} cannot be reached: {_words(error)}. Try by hand: {by_hand}") from error
        _Watch(transport, host, self._closed).start()
        return transport

    def _socket(self, host: SshHost, jumps: tuple[str, ...], depth: int) -> Any:
        import paramiko

        if jumps:
            *earlier, last = jumps
            user, _, rest = last.rpartition("@")
            name, _, port = rest.partition(":")
            hop = ssh_config.lookup(name, user or None, int(port) if port.isdigit() else None)
            between = self._open(hop, tuple(earlier) or hop.jump, depth + 1)
            self.traffic.calls += 1
            return between.open_channel(
                "direct-tcpip", (host.hostname, host.port), ("127.0.0.1", 0), timeout=host.connect_s
            )
        if host.proxy_command:
            return paramiko.ProxyCommand(host.proxy_command)
        made = socket.create_connection((host.hostname, host.port), host.connect_s)
        made.settimeout(None)
        with contextlib.suppress(OSError):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    # -- using ----------------------------------------------------------------------------------------------------

    def run(
        self,
        command: str,
        stdin: Iterable[bytes] | None,
        stdout: Sink | None = None,
        stderr: Sink | None = None,
        terminal: Terminal | None = None,
        started: Callable[[Channel], object] | None = None,
    ) -> int:
        """Run a command of the shell there, and hand on what it prints. Returns its exit code.

        ``stdin``: None keeps it open and empty. A process that a signal ended has the exit code -1. ``started`` gets
        the channel.
        """
        with self.breaking(), contextlib.closing(self._channel()) as channel:
            if terminal is not None:
                channel.get_pty(terminal.kind, terminal.columns, terminal.rows)
            channel.exec_command(command)
            if started is not None:
                started(channel)
            errors = threading.Thread(target=self._drain, args=(channel.recv_stderr, stderr), daemon=True)
            errors.start()
            if stdin is not None:
                threading.Thread(target=self._feed, args=(channel, stdin), daemon=True).start()
            self._drain(channel.recv, stdout)
            errors.join()
            code = channel.recv_exit_status()
            if code == -1 and not self._transport.is_active():
                raise ConnectionLostError(self._lost("it was closed"))
            return code

    def files(self, *, patient: bool = True) -> SFTPClient:
        """The files there. ``patient``: wait if the server opens no further session now. Raises RemoteClusterError if
        it opens none, or has no SFTP."""
        import paramiko

        with self.breaking():
            channel = self._channel(patient=patient)
            try:
                channel.invoke_subsystem("sftp")
            except paramiko.SSHException as error:
                if not self._transport.is_active():
                    raise
                raise RemoteClusterError(f"{self.host} has no SFTP: {_words(error)}.") from error
            self.traffic.calls += 1
            return paramiko.SFTPClient(channel)

    def _channel(self, *, patient: bool = True) -> Channel:
        """A new session. That of the command before may not be over there yet, and some servers allow only one."""
        import paramiko

        self.traffic.calls += 2  # the channel, and the command
        pauses = Backoff(0.1, 1.0)
        while True:
            try:
                return self._transport.open_session(timeout=self.host.connect_s)
            except paramiko.ChannelException:
                if not patient or pauses.seconds == pauses.longest:
                    raise
                time.sleep(pauses.take())

    def _drain(self, read: Callable[[int], bytes], sink: Sink | None) -> None:
        with contextlib.suppress(EOFError):
            while data := read(BLOCK):
                self.traffic.received += len(data)
                if sink is not None:
                    sink(data)

    def _feed(self, channel: Channel, blocks: Iterable[bytes]) -> None:
        with contextlib.suppress(OSError, EOFError):  # who reads the answer is told
            for block in blocks:
                self.traffic.sent += len(block)
                channel.sendall(block)
            channel.shutdown_write()

    @contextlib.contextmanager
    def breaking(self) -> Iterator[None]:
        """What a broken connection raises in the block, as one error."""
        import paramiko

        try:
            yield
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self._transport.is_active() and isinstance(error, paramiko.ChannelException):
                raise RemoteClusterError(f"{self.host} opens no further session: {_words(error)}.") from error
            if self._transport.is_active() and isinstance(error, OSError) and str(error) != CLOSED:
                raise  # of a file or a stream of this machine
            raise ConnectionLostError(self._lost(_words(error))) from error

    def _lost(self, why: str) -> str:
        return f"The connection to {self.host} was lost: {why}."


class _Watch(threading.Thread):
    """Asks the server now and then whether it is there, and closes the connection if it does not answer."""

    def __init__(self, transport: Transport, host: SshHost, closed: threading.Event) -> None:
        super().__init__(name="hpctune-ssh-alive", daemon=True)
        self._transport, self._closed = transport, closed
        self._interval, self._limit = host.alive_interval_s, host.alive_interval_s * max(1, host.alive_count)

    def run(self) -> None:
        """Until the connection is over."""
        while not self._closed.wait(self._interval) and self._transport.is_active():
            timer = threading.Timer(self._limit, self._transport.close)
            timer.daemon = True
            timer.start()
            with contextlib.suppress(Exception):
                self._transport.global_request("keepalive@openssh.com", wait=True)
            timer.cancel()


def _words(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
