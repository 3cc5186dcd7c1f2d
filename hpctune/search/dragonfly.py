"""Dragonfly, which does not run on today's Python."""

from __future__ import annotations

from typing import Any

from hpctune.errors import MissingPackageError
from hpctune.search.searcher import Searcher


class DragonflySearch(Searcher):
    """Says what to use instead of Dragonfly.

    Its last release, 0.1.7, does not build with current build tools (``numpy.distutils`` is gone), and where it has
    been built it stops at ``np.int``, which numpy removed in 1.24, the oldest that hpctune takes.

    Raises:
        MissingPackageError: always.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise MissingPackageError(
            "DragonflySearch cannot work: the package dragonfly-opt has had no release that runs with numpy 1.24 or "
            'later, and hpctune needs that. Use BayesOptSearch ("bayesopt") or AxSearch ("ax"), which also model the '
            'metric by Gaussian processes, or OptunaSearch ("optuna").'
        )
