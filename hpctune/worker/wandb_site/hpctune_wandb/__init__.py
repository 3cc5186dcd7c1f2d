"""What a trial of a W&B sweep adds to the user's Python: nothing but the standard library is needed.

The real package ``wandb`` takes the place of this one, and its runs tell the trial what is logged. Where it is not
installed, a stand-in lets the script run.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from hpctune_hearing import hear, installed
from hpctune_hearing.reports import heard, heard_summary

from hpctune_wandb import agent, stand_in

_SITE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def load() -> None:
    """Put the real package, or the stand-in, in the place of ``wandb``."""
    module = installed("wandb", _SITE)
    if module is None:
        sys.stderr.write("hpctune: the package wandb is not installed here: runs are not kept, metrics are heard.\n")
        module = stand_in.module()
    else:
        _hook(module)
    agent.hook(module)
    sys.modules["wandb"] = module


def _hook(module: Any) -> None:
    """Hear what the runs of the real package log, those of the mode ``disabled`` too."""
    runs = importlib.import_module("wandb.sdk.wandb_run")
    kinds = [runs.Run]
    try:
        kinds.append(importlib.import_module("wandb.sdk.lib.noop_run").NoopRun)
    except (ImportError, AttributeError):  # an earlier wandb
        kinds += [kind for kind in (getattr(module.sdk, "RunDisabled", None),) if kind is not None]
    for kind in kinds:
        if "log" in vars(kind):
            hear(kind, "log", lambda run, *args, **kwargs: heard(*args, **kwargs))
    summaries = importlib.import_module("wandb.sdk.wandb_summary")
    hear(summaries.SummaryDict, "update", lambda summary, *args, **kwargs: heard_summary(*args, **kwargs))
