"""The rows of a run: the user's fields, the counted fields, and the fields that are constant in a run."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from hpctune.common.log import log
from hpctune.errors import TuneError
from hpctune.model.ids import RunKey
from hpctune.model.records import Control
from hpctune.model.rows import STATED, flatten, lookup
from hpctune.stopper.split import reached
from hpctune.storage import values
from hpctune.worker.autofill import node_ip

_OURS = frozenset({
    "config", "date", "experiment_id", "experiment_tag", "hostname", "iterations_since_restore", "node_ip", "pid",
    "time_since_restore", "time_this_iter_s", "time_total_s", "timestamp", "timesteps_since_restore",
    "training_iteration", "trial_id", "job_id", "attempt", "node_list",
    STATED,
})  # fmt: skip
"""Fields that a report cannot set directly. They are filled in, some from values of the report."""


LARGEST = 1 << 20
"""Limit in characters of a result as text. Drivers and readers keep each trial's last result in memory."""


class Rows:
    """Makes the rows of one run as text, and checks them against the stop criteria."""

    def __init__(self, control: Control, run: RunKey, job_id: str, nodes: str) -> None:
        self._criteria = control.criteria
        self._constant: dict[str, Any] = {
            "trial_id": control.trial_id,
            "experiment_id": control.experiment_id,
            "experiment_tag": control.experiment_tag,
            "hostname": socket.gethostname(),
            "node_ip": node_ip(),
            "pid": os.getpid(),
            "job_id": job_id,
            "attempt": run.attempt,
            "node_list": nodes,
            "config": control.config,
        }
        self._constant_text = values.dumps(self._constant)[1:]
        self._left_out: set[str] = set()

    def own(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that the user's report sets."""
        if isinstance(metrics.get("config"), Mapping):
            self._state(metrics["config"])
        return {k: v for k, v in metrics.items() if k not in _OURS}

    def _state(self, config: Mapping[str, Any]) -> None:
        """Take over what the trial says about its configuration, if it differs from what it was given."""
        known = self._constant["config"]
        new = {str(k): values.plain(v) for k, v in config.items() if k not in known or known[k] != v}
        if new:
            names = dict.fromkeys([*self._constant.get(STATED, ()), *new])
            self._constant |= {"config": {**known, **new}, STATED: list(names)}
            self._constant_text = values.dumps(self._constant)[1:]

    def text(self, own: Mapping[str, Any], fields: Mapping[str, Any], done: bool) -> str:
        """The row as JSON. Constant fields were converted once. If the row is larger than LARGEST, values are left out,
        with a note in their place and, once per field, on stderr."""
        text = values.dumps({**own, **fields, "done": done})
        if len(text) > LARGEST:
            text = values.dumps({**self._smaller(own, len(text)), **fields, "done": done})
        return f"{text[:-1]},{self._constant_text}"

    def _smaller(self, own: Mapping[str, Any], size: int) -> dict[str, Any]:
        kept = dict(own)
        sizes = {name: len(values.dumps(value)) for name, value in own.items()}
        for name in sorted(sizes, key=lambda name: -sizes[name]):
            if size <= LARGEST:
                break
            size -= sizes[name]
            what = f"left out: {sizes[name] / 1e6:.1f} MB as text; the limit for a result is {LARGEST / 1e6:.1f} MB"
            kept[name] = f"({what})"
            if name not in self._left_out:
                self._left_out.add(name)
                log.warning(f"hpctune: {name!r} of a result is {what}. Save it with a checkpoint.")
        return kept

    def criterion(self, own: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str | None, TuneError | None]:
        """The stop criterion that is reached, if any, and the error in the criteria, if any."""
        if not self._criteria:
            return None, None
        counted = {k: v for k, v in fields.items() if v is not None}
        row = {**self._constant, "done": False, **own, **counted}
        found = {key: lookup(row, key, row) for key in self._criteria}  # a mapping cannot be compared
        missing = any(isinstance(value, Mapping) for value in found.values())
        try:
            return reached(self._criteria, _flat(row) if missing else found), None
        except TuneError as error:
            return None, error


def _flat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return flatten(row)
    except RecursionError:  # a value contains itself, or is nested too deeply
        return flatten(values.plain(row))
