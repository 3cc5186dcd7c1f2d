"""scikit-learn on a cluster: searches with the interface of GridSearchCV, and a backend of joblib.

Its names need the package scikit-learn (``pip install 'hpctune[sklearn]'``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hpctune.common.packages import load

if TYPE_CHECKING:
    from hpctune.interop.scikit.backend import (
        HpctuneBackend as HpctuneBackend,
        parallel_backend as parallel_backend,
        register_hpctune as register_hpctune,
    )
    from hpctune.interop.scikit.search import TuneGridSearchCV as TuneGridSearchCV, TuneSearchCV as TuneSearchCV

_HOMES = {
    "HpctuneBackend": "backend",
    "parallel_backend": "backend",
    "register_hpctune": "backend",
    "TuneGridSearchCV": "search",
    "TuneSearchCV": "search",
}
__all__ = ["HpctuneBackend", "TuneGridSearchCV", "TuneSearchCV", "parallel_backend", "register_hpctune"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load("sklearn", "", "sklearn", f"hpctune.sklearn.{name}")
    return getattr(import_module(f"hpctune.interop.scikit.{_HOMES[name]}"), name)
