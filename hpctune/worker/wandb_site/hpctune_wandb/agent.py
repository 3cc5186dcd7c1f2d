"""Scripts that call ``wandb.sweep`` and ``wandb.agent`` themselves: nothing is asked of a server.

When the search begins, the script runs up to ``wandb.agent``, which notes what is to be searched and ends it. In a
trial it runs again, and ``wandb.agent`` calls the function once.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

NOTES_VARIABLE, AGENT_VARIABLE = "HPCTUNE_WANDB_NOTES", "HPCTUNE_WANDB_AGENT"


def hook(module: Any) -> None:
    """Put these functions in the place of W&B's, if a search asks for it."""
    notes = os.environ.get(NOTES_VARIABLE)
    if not notes and not os.environ.get(AGENT_VARIABLE):
        return
    configs: dict[str, Any] = {}
    called: list[str] = []

    def sweep(sweep: Any, entity: Any = None, project: Any = None, prior_runs: Any = None) -> str:
        config = dict(sweep() if callable(sweep) else sweep)
        config.update({k: v for k, v in (("entity", entity), ("project", project)) if v is not None})
        name = os.environ.get("WANDB_SWEEP_ID", "hpctune")
        configs[name] = config
        return name

    def agent(
        sweep_id: str, function: Any = None, entity: Any = None, project: Any = None, count: Any = None, **_: Any
    ) -> None:
        if notes:
            config = dict(configs.get(sweep_id.rpartition("/")[2], {}))
            config.update({k: v for k, v in (("entity", entity), ("project", project)) if v is not None})
            with open(notes, "w") as file:
                json.dump({"config": config, "count": count, "function": function is not None}, file)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(0)  # what the script does after its search is not for this run
        if called or function is None:
            return
        called.append(sweep_id)
        function()
        module.finish()

    module.sweep, module.agent = sweep, agent
