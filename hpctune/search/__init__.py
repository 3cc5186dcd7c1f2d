"""Search algorithms: what decides which configuration to try next. Names are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpctune.search.ax import AxSearch
    from hpctune.search.base import (
        EXHAUSTED,
        WAIT,
        Exhausted,
        SearchAlgorithm,
        SearchPolicy,
        Suggestion,
        Wait,
    )
    from hpctune.search.basic_variant import BasicVariantGenerator
    from hpctune.search.bayesopt import BayesOptSearch
    from hpctune.search.bohb import TuneBOHB
    from hpctune.search.concurrency_limiter import ConcurrencyLimiter
    from hpctune.search.create import as_search_algorithm, create_searcher
    from hpctune.search.gp import GPSearch
    from hpctune.search.hebo import HEBOSearch
    from hpctune.search.hyperopt import HyperOptSearch
    from hpctune.search.nevergrad import NevergradSearch
    from hpctune.search.optuna import OptunaSearch
    from hpctune.search.repeater import Repeater
    from hpctune.search.search_generator import SearcherPolicy, SearchGenerator
    from hpctune.search.searcher import (
        UNDEFINED_METRIC_MODE,
        UNDEFINED_SEARCH_SPACE,
        UNRESOLVED_SEARCH_SPACE,
        Searcher,
    )
    from hpctune.search.tpe import TPESearch
    from hpctune.search.variant_generator import grid_search
    from hpctune.search.zoopt import ZOOptSearch

_HOMES = {
    "ax": ("AxSearch",),
    "bayesopt": ("BayesOptSearch",),
    "bohb": ("TuneBOHB",),
    "gp": ("GPSearch",),
    "hebo": ("HEBOSearch",),
    "hyperopt": ("HyperOptSearch",),
    "nevergrad": ("NevergradSearch",),
    "optuna": ("OptunaSearch",),
    "tpe": ("TPESearch",),
    "zoopt": ("ZOOptSearch",),
    "base": ("EXHAUSTED", "WAIT", "Exhausted", "SearchAlgorithm", "SearchPolicy", "Suggestion", "Wait"),
    "basic_variant": ("BasicVariantGenerator",),
    "concurrency_limiter": ("ConcurrencyLimiter",),
    "create": ("as_search_algorithm", "create_searcher"),
    "repeater": ("Repeater",),
    "search_generator": ("SearchGenerator", "SearcherPolicy"),
    "searcher": ("UNDEFINED_METRIC_MODE", "UNDEFINED_SEARCH_SPACE", "UNRESOLVED_SEARCH_SPACE", "Searcher"),
    "variant_generator": ("grid_search",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "EXHAUSTED",
    "UNDEFINED_METRIC_MODE",
    "UNDEFINED_SEARCH_SPACE",
    "UNRESOLVED_SEARCH_SPACE",
    "WAIT",
    "AxSearch",
    "BasicVariantGenerator",
    "BayesOptSearch",
    "ConcurrencyLimiter",
    "Exhausted",
    "GPSearch",
    "HEBOSearch",
    "HyperOptSearch",
    "NevergradSearch",
    "OptunaSearch",
    "Repeater",
    "SearchAlgorithm",
    "SearchGenerator",
    "SearchPolicy",
    "Searcher",
    "SearcherPolicy",
    "Suggestion",
    "TPESearch",
    "TuneBOHB",
    "Wait",
    "ZOOptSearch",
    "as_search_algorithm",
    "create_searcher",
    "grid_search",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
