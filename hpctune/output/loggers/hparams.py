"""The data of TensorBoard's HPARAMS page: three summaries per trial, in the form of the plug-in's messages.

They are of the plug-in's ``api.proto`` and ``plugin_hparams.proto``. Like scalars they are written without protobuf's
own objects, whose making costs more than the rest of what is done when a trial ends, and takes long to import.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache

from hpctune.output.loggers.tfrecord import double, part

Hyperparameter = bool | int | float | str
_STRING, _BOOL, _NUMBER = b"\x20\x01", b"\x20\x02", b"\x20\x03"
"""``type`` of a HParamInfo."""
_SUCCESS = b"\x08\x01"
"""``status`` of a SessionEndInfo."""


def summaries(given: Mapping[str, Hyperparameter], metrics: Mapping[str, object]) -> Iterator[bytes]:
    """What there is to compare (the names of ``given`` and ``metrics``), what this trial was given, and that it is
    over. What is given is in one order, so that a file that is made again is the same."""
    kinds = tuple((name, _kind(value)) for name, value in given.items())
    yield _experiment(kinds, tuple(metrics))
    entries = (part(1, part(1, name.encode()) + part(2, _value(given[name]))) for name in sorted(given))
    yield _summary("session_start_info", part(3, b"".join(entries)))
    yield _summary("session_end_info", part(4, _SUCCESS))


@lru_cache(maxsize=64)
def _experiment(kinds: tuple[tuple[str, bytes], ...], metrics: tuple[str, ...]) -> bytes:
    infos = [part(4, (part(1, name.encode()) if name else b"") + kind) for name, kind in kinds]
    infos += [part(5, part(1, part(2, name.encode()))) for name in metrics]
    return _summary("experiment", part(2, b"".join(infos)))


def _summary(tag: str, content: bytes) -> bytes:
    plugin = part(1, b"hparams") + part(2, content)
    return part(1, part(1, f"_hparams_/{tag}".encode()) + part(9, part(1, plugin)))


def _kind(value: Hyperparameter) -> bytes:
    return _STRING if isinstance(value, str) else _BOOL if isinstance(value, bool) else _NUMBER


def _value(value: Hyperparameter) -> bytes:
    """A ``google.protobuf.Value``."""
    if isinstance(value, str):
        return part(3, value.encode())
    if isinstance(value, bool):
        return b"\x20\x01" if value else b"\x20\x00"
    try:
        return double(2, value)
    except OverflowError:
        return double(2, math.inf if value > 0 else -math.inf)
