"""Search algorithms: what decides which configuration to try next. Names are imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpctune import lazy_names

if TYPE_CHECKING:
    from hpctune.search.ax import AxSearch as AxSearch
    from hpctune.search.base import (
        EXHAUSTED as EXHAUSTED,
        WAIT as WAIT,
        Exhausted as Exhausted,
        SearchAlgorithm as SearchAlgorithm,
        SearchPolicy as SearchPolicy,
        Suggestion as Suggestion,
        Wait as Wait,
    )
    from hpctune.search.basic_variant import BasicVariantGenerator as BasicVariantGenerator
    from hpctune.search.bayesopt import BayesOptSearch as BayesOptSearch
    from hpctune.search.bohb import TuneBOHB as TuneBOHB
    from hpctune.search.concurrency_limiter import ConcurrencyLimiter as ConcurrencyLimiter
    from hpctune.search.create import (
        SEARCH_ALG_IMPORT as SEARCH_ALG_IMPORT,
        as_search_algorithm as as_search_algorithm,
        create_searcher as create_searcher,
    )
    from hpctune.search.gp import GPSearch as GPSearch
    from hpctune.search.hebo import HEBOSearch as HEBOSearch
    from hpctune.search.hyperopt import HyperOptSearch as HyperOptSearch
    from hpctune.search.listed import ListedConfigurations as ListedConfigurations
    from hpctune.search.nevergrad import NevergradSearch as NevergradSearch
    from hpctune.search.optuna import OptunaSearch as OptunaSearch
    from hpctune.search.repeater import Repeater as Repeater
    from hpctune.search.search_generator import (
        SearcherPolicy as SearcherPolicy,
        SearchGenerator as SearchGenerator,
    )
    from hpctune.search.searcher import (
        UNDEFINED_METRIC_MODE as UNDEFINED_METRIC_MODE,
        UNDEFINED_SEARCH_SPACE as UNDEFINED_SEARCH_SPACE,
        UNRESOLVED_SEARCH_SPACE as UNRESOLVED_SEARCH_SPACE,
        Searcher as Searcher,
    )
    from hpctune.search.tpe import TPESearch as TPESearch
    from hpctune.search.variant_generator import grid_search as grid_search
    from hpctune.search.zoopt import ZOOptSearch as ZOOptSearch

_HOMES = {
    "ax": ("AxSearch",),
    "bayesopt": ("BayesOptSearch",),
    "bohb": ("TuneBOHB",),
    "gp": ("GPSearch",),
    "hebo": ("HEBOSearch",),
    "hyperopt": ("HyperOptSearch",),
    "listed": ("ListedConfigurations",),
    "nevergrad": ("NevergradSearch",),
    "optuna": ("OptunaSearch",),
    "tpe": ("TPESearch",),
    "zoopt": ("ZOOptSearch",),
    "base": ("EXHAUSTED", "WAIT", "Exhausted", "SearchAlgorithm", "SearchPolicy", "Suggestion", "Wait"),
    "basic_variant": ("BasicVariantGenerator",),
    "concurrency_limiter": ("ConcurrencyLimiter",),
    "create": ("SEARCH_ALG_IMPORT", "as_search_algorithm", "create_searcher"),
    "repeater": ("Repeater",),
    "search_generator": ("SearchGenerator", "SearcherPolicy"),
    "searcher": ("UNDEFINED_METRIC_MODE", "UNDEFINED_SEARCH_SPACE", "UNRESOLVED_SEARCH_SPACE", "Searcher"),
    "variant_generator": ("grid_search",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
