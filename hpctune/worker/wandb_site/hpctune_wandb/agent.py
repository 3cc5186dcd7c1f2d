"""Scripts that call ``wandb.sweep`` and ``wandb.agent`` themselves: nothing is asked of a server.

When the search begins, the script runs up to ``wandb.agent``, which notes what is to be searched and ends it. In a
trial it runs again, and ``wandb.agent`` calls the function once and ends it. So what stands behind that call, which is
for a search that is over, does not run. A script that only makes a sweep is ended by ``wandb.sweep``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn

NOTES_VARIABLE, AGENT_VARIABLE = "HPCTUNE_WANDB_NOTES", "HPCTUNE_WANDB_AGENT"
UNTIL_VARIABLE = "HPCTUNE_WANDB_UNTIL"
"""The function that ends the script: agent or sweep."""


def hook(module: Any) -> None:
    """Put these functions in the place of W&B's, if a search asks for it."""
    notes = os.environ.get(NOTES_VARIABLE)
    if not notes and not os.environ.get(AGENT_VARIABLE):
        return
    configs: dict[str, Any] = {}

    def placed(config: dict[str, Any], entity: Any, project: Any) -> dict[str, Any]:
        return {**config, **{k: v for k, v in (("entity", entity), ("project", project)) if v is not None}}

    def note(config: dict[str, Any], count: Any = None, function: Any = None) -> NoReturn:
        with open(notes or os.devnull, "w") as file:
            json.dump({"config": config, "count": count, "function": function is not None}, file)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(0)  # what the script does after its search is not for this run

    def sweep(sweep: Any, entity: Any = None, project: Any = None, prior_runs: Any = None) -> str:
        name = os.environ.get("WANDB_SWEEP_ID", "hpctune")
        configs[name] = placed(sweep() if callable(sweep) else sweep, entity, project)
        if notes and os.environ.get(UNTIL_VARIABLE) == "sweep":
            note(configs[name])
        return name

    def agent(
        sweep_id: str, function: Any = None, entity: Any = None, project: Any = None, count: Any = None, **_: Any
    ) -> None:
        if notes:
            made = configs.get(sweep_id.rpartition("/")[2], {})
            note(placed(made, entity, project) if made else {}, count, function)
        if function is not None:
            function()
        module.finish()
        sys.exit(0)

    module.sweep, module.agent = sweep, agent
