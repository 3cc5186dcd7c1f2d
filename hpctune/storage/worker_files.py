"""The files of one worker of a pool, in ``workers/w0003/``. Each has one writer.

- ``worker.json`` (written once by the driver): the definition of the worker.
- ``orders.json`` (written by the driver): its current orders; the last complete line counts.
- ``run-R.jsonl`` (written by start R of the worker, created exclusively as a claim): the record of what it did.

The worker opens ``orders.json`` for each read, and closes its record after each line, so that NFS shows both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hpctune.errors import StorageError
from hpctune.model.pool import (
    Assignment,
    Began,
    Claimed,
    Ended,
    Left,
    Ready,
    Retracted,
    WorkerOrders,
    WorkerRecord,
    WorkerSpec,
)
from hpctune.storage import atomic, values
from hpctune.storage.last_line import LastLine, last_line
from hpctune.storage.layout import WorkerPaths

if TYPE_CHECKING:
    from _typeshed import StrPath

_KINDS: dict[str, type[WorkerRecord]] = {
    "claimed": Claimed,
    "ready": Ready,
    "began": Began,
    "ended": Ended,
    "returned": Retracted,
    "left": Left,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def write_spec(paths: WorkerPaths, spec: WorkerSpec) -> None:
    """Publish ``worker.json``. Raises StorageError."""
    atomic.write(paths.spec, values.dumps(asdict(spec)) + "\n")


def read_spec(paths: WorkerPaths) -> WorkerSpec | None:
    """The definition of the worker; None if the file does not exist (yet) or cannot be read."""
    try:
        data = json.loads(paths.spec.read_bytes())
        return WorkerSpec(**{k: v for k, v in data.items() if k in WorkerSpec.__dataclass_fields__})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


class OrdersFile:
    """The writer of ``orders.json``."""

    def __init__(self, paths: WorkerPaths) -> None:
        self._file = LastLine(paths.orders)

    def publish(self, orders: WorkerOrders) -> None:
        """Make these the current orders. Raises StorageError."""
        self._file.publish(_orders_text(orders))


def _orders_text(orders: WorkerOrders) -> str:
    data = {
        "run": orders.run,
        "assignments": [[a.number, a.tag, a.command, a.stdout, a.stderr, dict(a.env)] for a in orders.assignments],
        "cancel": orders.cancel,
        "back": orders.retracted,
        "leave": orders.leave,
        "linger_s": orders.idle_grace_s,
    }
    return values.dumps(data)


def read_orders(paths: WorkerPaths) -> bytes:
    """The content of ``orders.json``; empty if it does not exist. Raises StorageError."""
    try:
        return atomic.read(paths.orders)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StorageError(f"Cannot read {paths.orders}: {error.strerror or error}.") from error


def parse_orders(text: bytes) -> WorkerOrders | None:
    """The current orders in ``text``; None if it contains none."""
    try:
        data = json.loads(last_line(text))
        assignments = tuple(
            Assignment(number, tag, tuple(command), stdout, stderr, env)
            for number, tag, command, stdout, stderr, env in data["assignments"]
        )
        cancel, back = tuple(data["cancel"]), tuple(data["back"])
        return WorkerOrders(data["run"], assignments, cancel, back, data["leave"], data.get("linger_s", 0.0))
    except (ValueError, KeyError, TypeError):
        return None


class WorkerFile:
    """The writer of one record, used by the worker itself."""

    def __init__(self, path: StrPath) -> None:
        self._path = path
        self._torn = False

    @classmethod
    def claim(cls, path: StrPath, claim: Claimed) -> WorkerFile | None:
        """Claim this start of the worker; None if it is claimed already. Raises OSError."""
        return cls(path) if atomic.create_exclusively(path, _line(claim)) else None

    def append(self, *records: WorkerRecord) -> None:
        """Add complete records. Others see them when this returns. Raises OSError."""
        payload = b"\n" * self._torn + b"".join(map(_line, records))
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self._torn = True  # a line that a full disk cuts off becomes its own line
        try:
            while payload:
                payload = payload[os.write(fd, payload) :]
        finally:
            os.close(fd)
        self._torn = False


class WorkerTail:
    """The reader. Each :meth:`read` returns the records completed since the last one."""

    def __init__(self, path: StrPath) -> None:
        self._path, self._offset = path, 0

    def read(self) -> list[WorkerRecord]:
        """New records, oldest first. Empty if the file does not exist. Raises StorageError."""
        try:
            fd = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"Cannot read {self._path}: {error.strerror or error}.") from error
        try:
            data = _read_from(fd, self._offset)
        except OSError as error:
            raise StorageError(f"Cannot read {self._path}: {error.strerror or error}.") from error
        finally:
            os.close(fd)
        end = data.rfind(b"\n") + 1
        self._offset += end
        return list(_records(data[:end].splitlines()))


def unreadable(path: StrPath) -> int:
    """How many complete lines cannot be parsed and are skipped by :class:`WorkerTail`. Raises OSError."""
    lines = [line for line in atomic.read(path).splitlines(keepends=True) if line.endswith(b"\n") and line.strip()]
    return len(lines) - len(list(_records(lines)))


def _read_from(fd: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    chunks = []
    while chunk := os.read(fd, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def _line(record: WorkerRecord) -> bytes:
    fields = [getattr(record, name) for name in type(record).__dataclass_fields__]
    return values.dumps([_NAMES[type(record)], *fields]).encode() + b"\n"


def _records(lines: Iterable[bytes]) -> Iterable[WorkerRecord]:
    for line in lines:
        try:
            name, *fields = json.loads(line)
            yield _made(_KINDS[name], fields)
        except (ValueError, KeyError, TypeError):
            continue  # a line that a full disk has cut off


def _made(kind: Callable[..., WorkerRecord], fields: list[Any]) -> WorkerRecord:
    return kind(*(tuple(value) if isinstance(value, list) else value for value in fields))
