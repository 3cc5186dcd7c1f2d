"""Several streams of bytes, and messages beside them, over one pair of pipes: what stdin and stdout of a program on
another machine are used for.

Each frame has a head (kind, number of the stream, length) and that many bytes. What comes before ``GREETING`` is left
out: a login shell's profile may print something.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from collections.abc import Callable

GREETING = b"\0hpctune streams 1\n"
"""The first bytes of the side that opens streams."""
LARGEST = 1 << 16
"""Bytes of a frame at most."""
_HEAD = struct.Struct(">BII")
_OPEN, _DATA, _CLOSE, _MESSAGE = range(4)


class Stream:
    """One stream. It has what paramiko wants of a channel for SFTP: ``recv``, ``send``, ``close`` and some names."""

    closed = False

    def __init__(self, number: int, write: Callable[[int, int, bytes], None]) -> None:
        self.number, self._write = number, write
        self._blocks: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes, as soon as there are some; b"" at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or self._ended)
            if not self._blocks:
                return b""
            block = self._blocks.popleft()
            if len(block) > size:
                self._blocks.appendleft(block[size:])
            return block[:size]

    def send(self, data: bytes) -> int:
        """Send some of ``data``. Returns how many bytes; 0 after the end."""
        if self._ended or self.closed:
            return 0
        self._write(_DATA, self.number, bytes(data[:LARGEST]))
        return min(len(data), LARGEST)

    def close(self) -> None:
        """End it, and tell the other side."""
        if not self.closed:
            self.closed = True
            if not self._ended:
                self._write(_CLOSE, self.number, b"")
        self.end()

    def take(self, data: bytes) -> None:
        """What the other side has sent."""
        with self._changed:
            self._blocks.append(data)
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def get_name(self) -> str:
        """A name for paramiko's log."""
        return str(self.number)

    def get_transport(self) -> Stream:
        """What has the name of paramiko's log: this object."""
        return self

    def get_log_channel(self) -> str:
        """The name of paramiko's log."""
        return "paramiko.hpctune"

    def get_hexdump(self) -> bool:
        """Whether paramiko logs all bytes."""
        return False


class Streams:
    """One end. ``send`` gets the bytes for the other end. ``opened`` gets each stream that the other end opens,
    ``heard`` each message. ``greeted``: whether the other end's greeting was read, or none is expected."""

    def __init__(
        self,
        send: Callable[[bytes], object],
        opened: Callable[[Stream], object],
        heard: Callable[[bytes], object],
        *,
        greeted: bool,
    ) -> None:
        self._send, self._opened, self._heard, self.greeted = send, opened, heard, greeted
        self._read = b""
        self._sending = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._last = 0

    def greet(self) -> None:
        """Send the greeting."""
        with self._sending:
            self._send(GREETING)

    def open(self) -> Stream:
        """A new stream."""
        with self._sending:
            self._last += 1
            stream = self._streams[self._last] = Stream(self._last, self._write)
        self._write(_OPEN, stream.number, b"")
        return stream

    def tell(self, message: bytes) -> None:
        """Send a message, of any length."""
        self._write(_MESSAGE, 0, message)

    def feed(self, data: bytes) -> None:
        """Bytes of the other end."""
        self._read += data
        if not self.greeted:
            _, found, rest = self._read.partition(GREETING)
            if not found:
                return
            self.greeted, self._read = True, rest
        at = 0
        while len(self._read) >= at + _HEAD.size:
            kind, number, length = _HEAD.unpack_from(self._read, at)
            if len(self._read) < at + _HEAD.size + length:
                break
            at += _HEAD.size
            self._take(kind, number, self._read[at : at + length])
            at += length
        self._read = self._read[at:]

    def end(self) -> None:
        """The other end is gone: all streams end."""
        for stream in list(self._streams.values()):
            stream.end()
        self._streams.clear()

    def _take(self, kind: int, number: int, data: bytes) -> None:
        if kind == _MESSAGE:
            self._heard(data)
        elif kind == _OPEN:
            stream = self._streams[number] = Stream(number, self._write)
            self._opened(stream)
        elif (known := self._streams.get(number)) is not None:
            if kind == _DATA:
                known.take(data)
            else:
                del self._streams[number]
                known.end()

    def _write(self, kind: int, number: int, data: bytes) -> None:
        with self._sending:
            if kind == _CLOSE:
                self._streams.pop(number, None)
            self._send(_HEAD.pack(kind, number, len(data)) + data)
