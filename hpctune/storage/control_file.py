"""The control file of a trial: written by the driver, read by the trial's current attempt. Its last line counts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from hpctune.errors import StorageError
from hpctune.model.records import Control
from hpctune.storage import atomic, permissions, values
from hpctune.storage.last_line import LastLine, last_line

if TYPE_CHECKING:
    from _typeshed import StrPath

_FIELDS = tuple(f.name for f in fields(Control))


class ControlFile:
    """The writer, for a driver that publishes more than once."""

    __slots__ = ("_directory", "_file")

    def __init__(self, path: StrPath) -> None:
        self._directory, self._file = permissions.parent(path), LastLine(path)

    def publish(self, control: Control) -> None:
        """Make ``control`` the current record. Creates the trial directory if it is missing. Raises StorageError."""
        data = {name: getattr(control, name) for name in _FIELDS} | {"config": values.encode(control.config)}
        try:
            permissions.make_directory(self._directory, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Cannot create {self._directory}: {error.strerror or error}.") from error
        self._file.publish(values.dumps(data))


def publish(path: StrPath, control: Control) -> None:
    """Publish once. Raises StorageError."""
    ControlFile(path).publish(control)


def read(path: StrPath) -> Control | None:
    """The current control record; None if there is no file: the trial is over, or never existed.

    Raises StorageError if the file is damaged, or if its config cannot or must not be loaded.
    """
    data = _load(path)
    if data is None:
        return None
    known = {k: v for k, v in data.items() if k in _FIELDS}
    try:
        config = known["config"]
        config = values.decode(config, trusted=not values.pickled(config) or values.trusted(os.stat(path)))
        if isinstance(config, values.Sealed):
            raise StorageError(f"Cannot read the config in {path}: {config.why}.")
        known |= {"config": config, "export_formats": tuple(known.get("export_formats", ()))}
        return Control(**known)
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError) as error:
        raise StorageError(f"Cannot read {path}: {error!r}.") from error


@dataclass(frozen=True, slots=True)
class TrialOrders:
    """The part of a control file that changes during an attempt."""

    attempt: int
    stop: str | None
    leave: str | None
    milestone: float | None
    answered: float | None
    milestone_then: float | None = None


def read_orders(path: StrPath) -> TrialOrders | None:
    """The orders, without decoding the rest; None if there is no control file."""
    data = _load(path)
    try:
        if data is None:
            return None
        told = {name: data[name] for name in TrialOrders.__slots__ if name != "milestone_then"}
        return TrialOrders(**told, milestone_then=data.get("milestone_then"))  # drivers of earlier versions have none
    except KeyError as error:
        raise StorageError(f"Cannot read {path}: {error} is missing.") from error


def with_orders(control: Control, orders: TrialOrders) -> Control:
    """``control`` with its orders replaced."""
    return replace(control, **{name: getattr(orders, name) for name in TrialOrders.__slots__})


def _load(path: StrPath) -> dict[str, Any] | None:
    try:
        data = json.loads(last_line(atomic.read(path)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error
    if not isinstance(data, dict):
        raise StorageError(f"Cannot read {path}: it does not contain a control record.")
    return data
