"""Streams and messages over one pair of pipes."""

from __future__ import annotations

from hypothesis import given, strategies as st

from hpctune.ssh.streams import GREETING, LARGEST, Stream, Streams


class Pair:
    """Two ends; what one sends arrives at the other in pieces of ``piece`` bytes when :meth:`pump` is called."""

    def __init__(self, piece: int = 1 << 20) -> None:
        self.piece = piece
        self.opened: list[Stream] = []
        self.heard: list[bytes] = []
        self._to_near, self._to_far = bytearray(), bytearray()
        self.near = Streams(self._to_far.extend, self.opened.append, self.heard.append, greeted=False)
        self.far = Streams(self._to_near.extend, self.opened.append, self.heard.append, greeted=True)

    def noise(self, data: bytes) -> None:
        self._to_near += data

    def pump(self) -> None:
        for waiting, end in ((self._to_near, self.near), (self._to_far, self.far)):
            data = bytes(waiting)
            waiting.clear()
            for at in range(0, len(data), self.piece):
                end.feed(data[at : at + self.piece])


@given(
    st.lists(st.tuples(st.integers(0, 2), st.binary(min_size=1, max_size=300)), max_size=20),
    st.integers(1, 40),
    st.binary(max_size=50).filter(lambda data: GREETING[:1] not in data),
)
def test_what_is_sent_arrives_in_order_on_its_stream(sent: list[tuple[int, bytes]], piece: int, noise: bytes) -> None:
    pair = Pair(piece)
    pair.noise(noise)
    pair.far.greet()
    streams = [pair.far.open() for _ in range(3)]
    for number, data in sent:
        assert streams[number].send(data) == len(data)
    pair.far.tell(b"a message")
    for stream in streams:
        stream.close()
    pair.pump()
    assert pair.heard == [b"a message"]
    for number, stream in enumerate(pair.opened):
        whole = b""
        while data := stream.recv(7):
            whole += data
        assert whole == b"".join(data for of, data in sent if of == number)


def test_both_ways_and_large_blocks() -> None:
    pair = Pair()
    pair.far.greet()
    stream = pair.far.open()
    pair.pump()
    (other,) = pair.opened
    data = bytes(LARGEST + 5)
    assert other.send(data) == LARGEST
    assert other.send(data[LARGEST:]) == 5
    pair.pump()
    got = b""
    while len(got) < len(data):
        got += stream.recv(1 << 20)
    assert got == data


def test_after_the_end_nothing_is_sent_and_nothing_waits() -> None:
    pair = Pair()
    pair.far.greet()
    stream = pair.far.open()
    pair.pump()
    pair.near.end()
    pair.far.end()
    assert stream.recv(1) == b""
    assert stream.send(b"x") == 0
    assert pair.opened[0].recv(1) == b""


def test_nothing_is_read_before_the_greeting() -> None:
    pair = Pair()
    pair.noise(b"Welcome to this machine!\n")
    pair.pump()
    assert not pair.near.greeted
    assert pair.heard == []
