"""Reads the files in which W&B keeps a run on disk (``run-ID.wandb``), as far as they are complete."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEAD = 7  # of the file, and of each record
_BLOCK = 32768
_FULL, _FIRST, _LAST = 1, 2, 4


def records(path: Path) -> Iterator[bytes]:
    """The complete records of the file. What a killed process has left unfinished at its end is left out."""
    data = path.read_bytes()
    place, parts = _HEAD, list[bytes]()
    while place + _HEAD <= len(data):
        room = _BLOCK - place % _BLOCK
        if room < _HEAD:
            place += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        part = data[place + _HEAD : place + _HEAD + length]
        if kind == 0 or len(part) < length:
            return
        place += _HEAD + length
        if kind in (_FULL, _FIRST):
            parts = []
        parts.append(part)
        if kind in (_FULL, _LAST):
            yield b"".join(parts)


def files_of(directory: Path, run_id: str) -> list[Path]:
    """The files of this run under ``directory``, from the oldest; each process that went on with it made one. Of two
    that begin in the same second, the folder of the second one has a number at its end."""
    files = directory.glob(f"wandb/*run-*-{run_id}*/run-{run_id}.wandb")
    return sorted(files, key=lambda path: path.parent.name.split("run-")[1])


def history(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Step and values of each logged row."""
    from wandb.proto import wandb_internal_pb2

    for data in records(path):
        record = wandb_internal_pb2.Record.FromString(data)  # type: ignore[attr-defined, unused-ignore]
        if record.HasField("history"):
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            step = row.get("_step", record.history.step.num)
            yield int(step), row


def next_step(directory: Path, run_id: str) -> int:
    """The step after the last one that is on disk; 0 if there is none."""
    steps = [step for path in files_of(directory, run_id) for step, _ in history(path)]
    return max(steps) + 1 if steps else 0
