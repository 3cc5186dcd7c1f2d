"""TensorBoard's file format: records of length, checksum, data, checksum; and the messages of scalars in them.

Scalars are most of what is written, and protobuf's own objects take ten times as long to make as these few bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

_CRC, _DOUBLE, _FLOAT = struct.Struct("<I"), struct.Struct("<d"), struct.Struct("<f")


def record(data: bytes) -> bytes:
    """``data`` as one record."""
    return b"".join((_head(len(data)), data, _CRC.pack(_masked(data))))


@lru_cache(maxsize=4096)
def _head(size: int) -> bytes:
    length = struct.pack("<Q", size)
    return length + _CRC.pack(_masked(length))


def part(number: int, data: bytes) -> bytes:
    """A field of a protobuf message (below 16) that holds text, bytes or another message."""
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def double(number: int, value: float) -> bytes:
    """A field (below 16) that holds a number. Raises OverflowError for an integer that no float can hold."""
    return bytes((number << 3 | 1,)) + _DOUBLE.pack(float(value))


def file_head(wall_time: float) -> bytes:
    """The ``Event`` with which every file begins."""
    return double(1, wall_time) + part(3, b"brain.Event:2")


def event_message(wall_time: float, step: int, summary: bytes) -> bytes:
    """An ``Event`` with the parts of a ``Summary``."""
    message = double(1, wall_time)
    if step:
        message += b"\x10" + _varint(step & 0xFFFFFFFFFFFFFFFF)
    return message + part(5, summary) if summary else message


def scalar_head(tag: str) -> bytes:
    """How the value of ``tag`` begins in a ``Summary``; :func:`scalar_value` is the rest."""
    name = tag.encode()
    value = part(1, name) + b"\x15"
    return b"\x0a" + _varint(len(value) + 4) + value


def scalar_value(number: float) -> bytes:
    """A 32-bit float; larger numbers become infinite."""
    try:
        return _FLOAT.pack(number)
    except OverflowError:
        return _FLOAT.pack(math.copysign(math.inf, number))


def scalars_of(tags: Sequence[str]) -> Callable[[Sequence[float]], bytes]:
    """A function from numbers, one for each of ``tags``, to what head and value of each make together. It raises
    OverflowError or struct.error if a number is too large for 32 bits."""
    parts: list[Any] = [part for tag in tags for part in (scalar_head(tag), 0.0)]
    pack = struct.Struct("<" + "".join(f"{len(head)}sf" for head in parts[::2])).pack

    def scalars(numbers: Sequence[float]) -> bytes:
        parts[1::2] = numbers
        return pack(*parts)

    return scalars


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _masked(data: bytes) -> int:
    import google_crc32c  # imported here, because readers do not need it

    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF
