"""SigOpt, which is no more."""

from __future__ import annotations

from typing import Any

from hpctune.errors import UsageError
from hpctune.search.searcher import Searcher


class SigOptSearch(Searcher):
    """Says what to use instead of SigOpt: the service that made its suggestions was shut down.

    Raises:
        UsageError: always.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise UsageError(
            "SigOptSearch cannot work: the SigOpt service, which made its suggestions, was shut down (its package "
            'still installs, but only talks to that service). Use AxSearch ("ax") or BayesOptSearch ("bayesopt") '
            'for Bayesian optimization, or OptunaSearch ("optuna").'
        )
