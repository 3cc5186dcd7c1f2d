"""Scripts that call ``wandb.sweep`` and ``wandb.agent`` themselves: nothing is asked of a server.

When the search begins, the script runs up to its last ``wandb.agent``, and each one notes what is to be searched. In a
trial the script runs again, up to the ``wandb.agent`` of the trial's search, which calls the function once and ends it.
So what stands behind the last call, which is for searches that are over, does not run. A script that only makes a sweep
is ended by ``wandb.sweep``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

NOTES_VARIABLE, AGENT_VARIABLE = "HPCTUNE_WANDB_NOTES", "HPCTUNE_WANDB_AGENT"
UNTIL_VARIABLE, CALLS_VARIABLE = "HPCTUNE_WANDB_UNTIL", "HPCTUNE_WANDB_CALLS"
"""The function that is noted: agent or sweep; and how many calls of it there are, the last of which ends the script. 0:
unknown, as in a loop."""


def hook(module: Any) -> None:
    """Put these functions in the place of W&B's, if a search asks for it."""
    path, asked = os.environ.get(NOTES_VARIABLE), os.environ.get(AGENT_VARIABLE)
    if not path and not asked:
        return
    configs: dict[str, Any] = {}
    notes = _Notes(path) if path else None
    calls = 0

    def placed(config: dict[str, Any], entity: Any, project: Any) -> dict[str, Any]:
        return {**config, **{k: v for k, v in (("entity", entity), ("project", project)) if v is not None}}

    def sweep(sweep: Any, entity: Any = None, project: Any = None, prior_runs: Any = None) -> str:
        name = os.environ.get("WANDB_SWEEP_ID", "hpctune") + (f"-{len(configs) + 1}" if configs else "")
        configs[name] = placed(sweep() if callable(sweep) else sweep, entity, project)
        if notes and os.environ.get(UNTIL_VARIABLE) == "sweep":
            notes.add(name, configs[name])
        return name

    def agent(
        sweep_id: str, function: Any = None, entity: Any = None, project: Any = None, count: Any = None, **_: Any
    ) -> None:
        nonlocal calls
        calls += 1
        if notes:
            name = sweep_id.rpartition("/")[2]
            made = configs.get(name, {})
            notes.add(name, placed(made, entity, project) if made else {}, count, function)
        elif calls == int(asked or 1):
            if function is not None:
                function()
            module.finish()
            sys.exit(0)

    module.sweep, module.agent = sweep, agent


class _Notes:
    """What is to be searched, in a file: one entry for each sweep, with the number of its first call."""

    def __init__(self, path: str) -> None:
        self._path, self._found = path, dict[str, dict[str, Any]]()
        self._calls, self._last = 0, int(os.environ.get(CALLS_VARIABLE) or 1)

    def add(self, name: str, config: dict[str, Any], count: Any = None, function: Any = None) -> None:
        """Note a call. The last one ends the script."""
        self._calls += 1
        known = self._found.get(name)
        if known is None:
            is_called = function is not None
            self._found[name] = {"config": config, "count": count, "function": is_called, "call": self._calls}
        else:  # the same sweep goes on
            known["count"] = known["count"] + count if known["count"] and count else None
        with open(self._path, "w") as file:
            json.dump([*self._found.values()], file)
        if self._calls == self._last:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(0)  # what the script does after its searches is not for this run
