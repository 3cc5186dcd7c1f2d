"""Encodes Python values as JSON. Values that JSON cannot represent exactly are pickled inside it."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from hpctune.common.checks import is_number
from hpctune.common.text import quoted
from hpctune.errors import StorageError
from hpctune.model.rows import Row

_PICKLE = "__pickle__"
DEEPEST = 100
"""Containers in containers that are kept as such."""
_to_text = json.JSONEncoder(separators=(",", ":")).encode


def encode(value: Any) -> Any:
    """A JSON-compatible form of ``value``, from which :func:`decode` makes an equal value of the same types."""
    if _exact(value):
        return value
    if isinstance(value, Sealed):
        return {_PICKLE: value.pickled}
    from hpctune.usercode.pickling import dump_value

    return {_PICKLE: base64.b64encode(dump_value(value)).decode()}


def decode(data: Any, *, trusted: bool = True) -> Any:
    """The value of which :func:`encode` made ``data``.

    Pickles are loaded only if ``trusted``, because loading one may run its writer's code. A pickle that is not trusted,
    or cannot be loaded here (a module is missing), becomes a Sealed.
    """
    if not pickled(data):
        return data
    if not trusted:
        return Sealed(data[_PICKLE], "another user may have written it")
    try:
        from hpctune.common import unpickling

        return unpickling.loads(base64.b64decode(data[_PICKLE]))
    except Exception as error:
        return Sealed(data[_PICKLE], f"{type(error).__name__}: {error}")


def pickled(data: Any) -> bool:
    """Whether :func:`decode` has to unpickle ``data``."""
    return isinstance(data, Mapping) and _PICKLE in data


def trusted(status: os.stat_result) -> bool:
    """Whether only this user (or root) can have written the file. Then its pickles may be loaded."""
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def open_trusted(path: Path) -> BinaryIO:
    """Open a file of pickles that only this user (or root) can have written.

    Raises StorageError if another user may have written it, because loading it could run their code. Raises OSError.
    """
    file = path.open("rb")
    status = os.fstat(file.fileno())
    if trusted(status):
        return file
    file.close()
    raise StorageError(distrust(path, status))


def trusted_bytes(path: Path) -> bytes:
    """The content of a file of pickles, with the errors of :func:`open_trusted`."""
    with open_trusted(path) as file:
        return file.read()


def distrust(path: str | Path, status: os.stat_result) -> str:
    """Why a file of pickles is not loaded, and what to do."""
    if status.st_uid not in (os.geteuid(), 0):
        return (
            f"{path} belongs to user {status.st_uid}, not to you. To load it would run that user's code. "
            f"If you trust this user, make a copy of your own with: cp -r"
        )
    return (
        f"{path} can be written by others (mode {stat.filemode(status.st_mode)}). To load it could run their code. "
        f"If you trust it, run: chmod go-w {quoted(path)}"
    )


class Sealed(Mapping[str, Any]):
    """A pickled mapping that is not unpickled here. It appears empty, and is written back unchanged."""

    __slots__ = ("pickled", "why")

    def __init__(self, pickled: str, why: str) -> None:
        self.pickled, self.why = pickled, why

    def __getitem__(self, key: str) -> Any:
        raise KeyError(f"{key} (the values cannot be read: {self.why})")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"<cannot be read: {self.why}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self.pickled == other.pickled

    def __hash__(self) -> int:
        return hash(self.pickled)


def _exact(value: Any, depth: int = DEEPEST) -> bool:
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return True
    if depth == 0:
        return False
    if kind is list:
        return all(_exact(v, depth - 1) for v in value)
    if kind is dict:
        return _PICKLE not in value and all(type(k) is str and _exact(v, depth - 1) for k, v in value.items())
    return False


def plain(value: Any, around: tuple[int, ...] = ()) -> Any:
    """A JSON-able form of ``value`` for people and other programs: numpy scalars and arrays become numbers and
    lists, a table of pandas lists by the names of its columns, anything else that JSON cannot say becomes its ``str``:
    also what is in itself, or deeper than DEEPEST. Not reversible. ``around``: the ids of what ``value`` is in."""
    if _exact(value, DEEPEST - len(around)):
        return value
    if id(value) in around or len(around) >= DEEPEST:
        return text(value)
    inside = (*around, id(value))
    if isinstance(value, Mapping):
        return {text(k): plain(v, inside) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v, inside) for v in value]
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (Decimal, Fraction)):
        return float(value)
    if hasattr(value, "tolist"):
        return plain(_only_number(value.tolist()), inside)
    if hasattr(value, "iloc") and hasattr(value, "to_dict"):
        return plain(value.to_dict(orient="list"), inside)
    if hasattr(value, "item"):
        with contextlib.suppress(Exception):  # of several values
            return plain(value.item(), inside)
    return text(value)


def _only_number(value: Any) -> Any:
    """The number in an array of one number, whatever its shape; every other array as it is."""
    inner = value
    while isinstance(inner, list) and len(inner) == 1:
        inner = inner[0]
    return inner if is_number(inner) else value


def text(value: object) -> str:
    """``str(value)``; if that fails, of what kind it is."""
    try:
        return str(value)
    except Exception as error:
        return f"(a {type(value).__name__} whose text cannot be made: {type(error).__name__})"


def dumps(value: Any) -> str:
    """``value`` as one line of JSON; converted by :func:`plain` if needed."""
    if type(value) is Row:
        return value.text
    try:
        return _to_text(value)
    except (TypeError, ValueError, RecursionError):
        return _to_text(plain(value))


def as_json(value: object, *, indent: int | None = 2) -> str:
    """``value`` as JSON that every program can read: numbers that are not finite become null."""
    return json.dumps(_finite(plain(value)), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
