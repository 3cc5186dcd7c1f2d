"""What a result consists of: the user's own fields, those counted, and those that are the same all through a run."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from hpctune.errors import TuneError
from hpctune.model.ids import RunKey
from hpctune.model.records import Control
from hpctune.model.rows import flatten, lookup
from hpctune.stopper.split import reached
from hpctune.storage import values
from hpctune.worker.autofill import node_ip

_OURS = frozenset({
    "config", "date", "experiment_id", "experiment_tag", "hostname", "iterations_since_restore", "node_ip", "pid",
    "time_since_restore", "time_this_iter_s", "time_total_s", "timestamp", "timesteps_since_restore",
    "training_iteration", "trial_id", "job_id", "attempt", "node_list",
})  # fmt: skip
"""Fields that a report cannot set directly: they are filled in, some of them from what it says."""


class Rows:
    """Makes the rows of one run, as text, and holds them against the stop criteria."""

    def __init__(self, control: Control, run: RunKey, job_id: str, nodes: str) -> None:
        self._criteria = control.criteria
        self._constant = {
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

    def own(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that the user's report sets."""
        return {k: v for k, v in metrics.items() if k not in _OURS}

    def text(self, own: Mapping[str, Any], fields: Mapping[str, Any], done: bool) -> str:
        """The row as JSON; what never changes in it was made into text once."""
        return f"{values.dumps({**own, **fields, 'done': done})[:-1]},{self._constant_text}"

    def criterion(self, own: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str | None, TuneError | None]:
        """The stop criterion that is reached, if any, and what is wrong with the criteria."""
        if not self._criteria:
            return None, None
        counted = {k: v for k, v in fields.items() if v is not None}
        row = {**self._constant, "done": False, **own, **counted}
        found = {key: lookup(row, key, row) for key in self._criteria}  # a mapping is nothing to compare with
        missing = any(isinstance(value, Mapping) for value in found.values())
        try:
            return reached(self._criteria, flatten(row) if missing else found), None
        except TuneError as error:
            return None, error
