"""What arrives at the head's port need not come from a rank."""

from __future__ import annotations

import socket

import pytest

from hpctune.worker.ranks.peer import Peer


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"3\n", b"[]\n", b"\xff\xfe\n", b"x" * 70_000])
def test_what_is_no_message_ends_the_connection(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        assert Peer(ours, "127.0.0.1").receive() is None


def test_messages_may_come_in_parts() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = Peer(ours, "127.0.0.1")
        theirs.sendall(b'{"a": 1}\n{"b"')
        assert peer.receive() == [{"a": 1}]
        theirs.sendall(b": 2}\n")
        assert peer.receive() == [{"b": 2}]
        theirs.close()
        assert peer.receive() is None
