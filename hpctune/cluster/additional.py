"""``SlurmOptions(additional_parameters=...)``: any other option of sbatch, except for those that hpctune sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hpctune.errors import UsageError

_SHORT = {"J": "job-name", "o": "output", "e": "error", "a": "array", "p": "partition", "A": "account"}
_OWNED = {
    "output": "It is the trial's stdout file.",
    "error": "It is the trial's stderr file.",
    "array": "To submit each trial as a job of its own, use SlurmOptions(array=False).",
    "open-mode": "The output of all attempts is appended.",
    "parsable": "hpctune reads the answer of sbatch.",
    "test-only": "hpctune does that itself before the first submission.",
    "wrap": "The job runs hpctune's worker.",
    "job-name": "Use SlurmOptions(job_name_prefix=...).",
    "signal": "Use SlurmOptions(signal_delay_s=...).",
}


def parse(value: object, own: Collection[str]) -> dict[str, Any]:
    """The options by their long names; those that are None or False are left out. ``own``: the names of the fields of
    SlurmOptions. Raises UsageError."""
    if not isinstance(value, Mapping):
        raise UsageError(f"additional_parameters must be a dict of sbatch options, not {value!r}.")
    given: dict[str, Any] = {}
    for key, setting in value.items():
        name = str(key).lstrip("-").replace("_", "-")
        name = _SHORT.get(name, name)
        if name in _OWNED:
            raise UsageError(f"additional_parameters may not set {name!r}: hpctune sets it. {_OWNED[name]}")
        if name.replace("-", "_") in own:
            raise UsageError(
                f"Give {name!r} as SlurmOptions({name.replace('-', '_')}=...), not in additional_parameters."
            )
        if "\n" in str(setting):
            raise UsageError(f"additional_parameters[{key!r}] must be one line, not {setting!r}.")
        if setting is not None and setting is not False:
            given[name] = setting
    return given
