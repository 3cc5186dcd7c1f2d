"""scikit-learn on a cluster: searches with the interface of GridSearchCV, and a backend of joblib.

``import hpctune.sklearn`` needs the package scikit-learn.
"""

from hpctune.interop.scikit.backend import (
    HpctuneBackend as HpctuneBackend,
    parallel_backend as parallel_backend,
    register_hpctune as register_hpctune,
)
from hpctune.interop.scikit.search import TuneGridSearchCV as TuneGridSearchCV, TuneSearchCV as TuneSearchCV

__all__ = ["HpctuneBackend", "TuneGridSearchCV", "TuneSearchCV", "parallel_backend", "register_hpctune"]
