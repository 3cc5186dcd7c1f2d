"""What a trial of a W&B sweep adds to the user's Python: nothing but the standard library is needed.

The real package ``wandb`` takes the place of this one, and its runs tell the trial what is logged. Where it is not
installed, a stand-in lets the script run.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from hpctune_wandb import agent, stand_in
from hpctune_wandb.hearing import heard, heard_summary

_SITE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def load() -> None:
    """Put the real package, or the stand-in, in the place of ``wandb``."""
    module = _installed()
    if module is None:
        sys.stderr.write("hpctune: the package wandb is not installed here: runs are not kept, metrics are heard.\n")
        module = stand_in.module()
    else:
        _hook(module)
    agent.hook(module)
    sys.modules["wandb"] = module


def _installed() -> Any:
    """The package that is installed; None if there is none. A directory ``wandb`` with old runs is none."""
    before = list(sys.path)
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != _SITE]
    own = sys.modules.pop("wandb", None)
    try:
        found = importlib.import_module("wandb")
    except ModuleNotFoundError as error:
        if error.name != "wandb":
            raise
        found = None
    finally:
        sys.path[:] = before  # processes that this one spawns get it
        if own is not None:
            sys.modules["wandb"] = own
    return None if found is None or getattr(found, "__file__", None) is None else found


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
            _hear(kind, "log", heard)
    summaries = importlib.import_module("wandb.sdk.wandb_summary")
    _hear(summaries.SummaryDict, "update", heard_summary)


def _hear(kind: Any, name: str, hear: Any) -> None:
    """Let ``hear`` have the arguments of a method after it was called."""
    original = getattr(kind, name)

    def hearing(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        hear(*args, **kwargs)
        return answer

    hearing.__name__, hearing.__doc__ = name, original.__doc__
    setattr(kind, name, hearing)
