"""TensorBoard's file format: length, checksum, data, checksum."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_BLOCK = 1024
_tables: list[Any] = []


def record(data: bytes) -> bytes:
    """``data`` as one record."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", _masked(length)), data, struct.pack("<I", _masked(data))))


def _masked(data: bytes) -> int:
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The CRC-32C of ``data``.

    A checksum without its initial value is linear: every byte contributes, by its value and its distance from the
    end, a number that can be looked up. With numpy that is ten times faster than a loop over the bytes.
    """
    import numpy as np

    if not _tables:
        _tables.append(_contributions())
    table: NDArray[np.uint32] = _tables[0]
    register = 0xFFFFFFFF
    for start in range(0, len(data), _BLOCK):
        block = np.frombuffer(data[start : start + _BLOCK], dtype=np.uint8).copy()
        block_size = len(block)
        head = np.frombuffer(struct.pack("<I", register), dtype=np.uint8)
        overlap = min(4, block_size)
        block[:overlap] ^= head[:overlap]
        distances = np.arange(block_size - 1, -1, -1)
        register = int(np.bitwise_xor.reduce(table[distances, block])) ^ _rest(head, overlap)
    return register ^ 0xFFFFFFFF


def _rest(head: NDArray[np.uint8], overlap: int) -> int:
    """What of the register is left when a block is shorter than it."""
    return int.from_bytes(head[overlap:].tobytes(), "little")


def _contributions() -> NDArray[np.uint32]:
    """``table[distance from the end, byte]``."""
    import numpy as np

    first = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = np.where(first & 1, (first >> 1) ^ np.uint32(_POLYNOMIAL), first >> 1).astype(np.uint32)
    rows = [first]
    for _ in range(_BLOCK - 1):
        previous = rows[-1]
        rows.append(first[previous & 0xFF] ^ (previous >> np.uint32(8)))
    return np.stack(rows)
