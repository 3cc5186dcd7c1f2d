"""The control file of a trial: written by the driver, read by the trial's current attempt."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from hpctune.errors import StorageError
from hpctune.model.records import Control
from hpctune.storage import atomic, values

_FIELDS = tuple(f.name for f in fields(Control))


def publish(path: Path, control: Control) -> None:
    """Write ``control``, creating the trial directory where it is missing."""
    data = {name: getattr(control, name) for name in _FIELDS} | {"config": values.encode(control.config)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"Cannot make {path.parent}: {error.strerror or error}.") from error
    atomic.write(path, values.dumps(data))


def read(path: Path) -> Control | None:
    """The control file, or None when there is none: the trial is over, or never was."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"Cannot read {path}: {error}.") from error
    known = {k: v for k, v in data.items() if k in _FIELDS}
    known["config"] = values.decode(known["config"])
    known["export_formats"] = tuple(known.get("export_formats", ()))
    return Control(**known)
