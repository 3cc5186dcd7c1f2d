"""Encodes events as JSON and decodes them. A field's name decides its encoding; others are plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from enum import Enum
from typing import Any, get_args

from hpctune.errors import JournalError
from hpctune.model import events as e
from hpctune.model.ids import RunKey
from hpctune.model.jobs import JobState
from hpctune.model.records import ErrorInfo, Outcome
from hpctune.model.resources import Resources
from hpctune.model.trial import CheckpointRef, Phase
from hpctune.storage import values

_NAMES_ON_DISK = {"TrialFinalized": "TrialSettled"}
"""Events whose names in journals differ from those in the code, so that earlier versions can read the journals."""


def disk_name(kind: type[Any]) -> str:
    """The name of this kind of event in journals."""
    return _NAMES_ON_DISK.get(kind.__name__, kind.__name__)


_KINDS: dict[str, type[Any]] = {disk_name(kind): kind for kind in get_args(e.Event)}
_DEFAULTS: dict[str, dict[str, Any]] = {
    name: {f.name: f.default for f in fields(kind) if f.default is not MISSING} for name, kind in _KINDS.items()
}

_ENCODE: dict[str, Callable[[Any], Any]] = {
    "run": lambda run: [run.trial_id, run.attempt, run.restart],
    "config": values.encode,
    "resources": Resources.to_json,
    "error": lambda error: error and error.to_json(),
    "checkpoint": lambda ref: ref and [ref.name, ref.iteration, ref.score],
    "targets": list,
}
_DECODE: dict[str, Callable[[Any], Any]] = {
    "run": lambda data: RunKey(*data),
    "resources": Resources.from_json,
    "error": lambda data: data and ErrorInfo.from_json(data),
    "checkpoint": lambda data: data and CheckpointRef(*data),
    "verdict": e.Verdict,
    "phase": Phase,
    "outcome": Outcome,
    "targets": tuple,
}
# ``state`` is a JobState wherever it occurs.
_DECODE["state"] = JobState


def encode(recorded: e.Recorded) -> str:
    """One line (without its end) for ``recorded``. Fields that have their default are left out."""
    event = recorded.event
    if type(event) is e.ResultReported:
        return _encode_result(recorded.at, event)
    name = disk_name(type(event))
    defaults = _DEFAULTS[name]
    data: dict[str, Any] = {"at": recorded.at, "event": name}
    for field in event.__dataclass_fields__:
        value = getattr(event, field)
        if field in defaults and value == defaults[field]:
            continue
        if isinstance(value, Enum):
            value = value.value
        elif field in _ENCODE:
            value = _ENCODE[field](value)
        data[field] = value
    data |= _size(getattr(event, "checkpoint", None))
    return values.dumps(data)


def _size(checkpoint: CheckpointRef | None) -> dict[str, int]:
    """The size of a checkpoint as a field of its own, which earlier versions ignore."""
    return {} if checkpoint is None or checkpoint.bytes is None else {"checkpoint_bytes": checkpoint.bytes}


def _encode_result(at: float, event: e.ResultReported) -> str:
    """The same for a result, faster: most events are results, and the text of a result's row is known already."""
    run = f"[{values.dumps(event.run.trial_id)},{event.run.attempt},{event.run.restart}]"
    text = f'{{"at":{at!r},"event":"ResultReported","run":{run},"seq":{event.seq}'
    if event.verdict is not e.Verdict.COUNTED:
        text += f',"verdict":"{event.verdict.value}"'
    if event.checkpoint is not None:
        text += f',"checkpoint":{values.dumps(_ENCODE["checkpoint"](event.checkpoint))}'
        text += "".join(f',"{name}":{value}' for name, value in _size(event.checkpoint).items())
    return f'{text},"row":{values.dumps(event.row)}}}'


def encode_group(group: Sequence[e.Recorded]) -> str:
    """One line (without its end) for a group of events, which is stored as a whole: one object, or a list of them."""
    if len(group) == 1:
        return encode(group[0])
    return f"[{','.join(map(encode, group))}]"


def decode_group(data: Any, *, trusted: bool = True) -> list[e.Recorded]:
    """Read the parsed line of :func:`encode_group`."""
    group = data if isinstance(data, list) else [data]
    if not group:
        raise ValueError("an empty group of events")
    return [decode(each, trusted=trusted) for each in group]


def decode(data: Mapping[str, Any], *, trusted: bool = True) -> e.Recorded:
    """Read the parsed line of :func:`encode`. Unknown fields are ignored, unknown events are an error.

    ``trusted``: whether pickled configs may be loaded (see ``values.decode``).
    """
    kind = _KINDS.get(data["event"])
    if kind is None:
        raise JournalError(
            f"The journal contains an event {data['event']!r} that this version does not know. "
            "A newer hpctune wrote it. Upgrade: pip install --upgrade hpctune"
        )
    arguments = {}
    for field in kind.__dataclass_fields__:
        if field in data:
            value = data[field]
            if field == "config":
                value = values.decode(value, trusted=trusted)
            elif field in _DECODE:
                value = _DECODE[field](value)
            arguments[field] = value
    if "checkpoint_bytes" in data and arguments.get("checkpoint") is not None:
        arguments["checkpoint"] = replace(arguments["checkpoint"], bytes=data["checkpoint_bytes"])
    return e.Recorded(data["at"], kind(**arguments))
