"""What a trial of a Sacred experiment adds to the user's Python: its runs say what is logged and returned."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from hpctune_hearing import hear, installed

from hpctune_sacred import rows

_SITE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def load() -> None:
    """Put the real package in the place of ``sacred``. Raises ModuleNotFoundError if it is not installed."""
    module = installed("sacred", _SITE)
    if module is None:
        raise ModuleNotFoundError(f"No module named 'sacred' for {sys.executable}", name="sacred")
    run = importlib.import_module("sacred.run").Run
    hear(run, "log_scalar", _logged)
    hear(run, "__call__", _returned)
    sys.modules["sacred"] = module


def _logged(run: Any, metric_name: str, value: Any, step: Any = None) -> None:
    rows.logged(metric_name, value, step)


def _returned(run: Any, *args: Any, **kwargs: Any) -> None:
    rows.returned(run.result)
