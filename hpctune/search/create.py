"""Search algorithms by name."""

from __future__ import annotations

import inspect
from functools import partial
from importlib import import_module
from typing import Any

from hpctune.common import plugins
from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.search.base import SearchAlgorithm
from hpctune.search.concurrency_limiter import ConcurrencyLimiter
from hpctune.search.search_generator import SearchGenerator
from hpctune.search.searcher import Searcher

HOMES = {
    "variant_generator": ("basic_variant", "BasicVariantGenerator"),
    "random": ("basic_variant", "BasicVariantGenerator"),
    "grid": ("basic_variant", "BasicVariantGenerator"),
    "tpe": ("tpe", "TPESearch"),
    "gp": ("gp", "GPSearch"),
    "optuna": ("optuna", "OptunaSearch"),
    "hyperopt": ("hyperopt", "HyperOptSearch"),
    "bohb": ("bohb", "TuneBOHB"),
    "bayesopt": ("bayesopt", "BayesOptSearch"),
    "ax": ("ax", "AxSearch"),
    "nevergrad": ("nevergrad", "NevergradSearch"),
    "hebo": ("hebo", "HEBOSearch"),
    "zoopt": ("zoopt", "ZOOptSearch"),
    "skopt": ("skopt", "SkOptSearch"),
    "dragonfly": ("dragonfly", "DragonflySearch"),
    "sigopt": ("sigopt", "SigOptSearch"),
    "blendsearch": ("flaml", "BlendSearch"),
    "cfo": ("flaml", "CFO"),
}
"""The module of ``hpctune.search`` and the class in it of every search algorithm, by name."""


def searcher_class(search_alg: str) -> type[Searcher] | type[SearchAlgorithm]:
    """Return the class of this search algorithm, ours or a plug-in's. Raises UsageError if there is none."""
    found: type[Searcher] | type[SearchAlgorithm] | None
    if search_alg in HOMES:
        module, name = HOMES[search_alg]
        found = getattr(import_module(f"hpctune.search.{module}"), name)
    else:
        found = plugins.find(plugins.SEARCHERS, search_alg)
    if found is None:
        known = ", ".join(f'"{name}"' for name in (*HOMES, *plugins.names(plugins.SEARCHERS)))
        raise UsageError(f'There is no search algorithm "{search_alg}". Valid names: {known}.')
    return found


SEARCH_ALG_IMPORT = {name: partial(searcher_class, name) for name in HOMES}
"""By name, a function that gives the class."""


def create_searcher(search_alg: str, **kwargs: Any) -> Searcher | SearchAlgorithm:
    """Return the search algorithm of this name, made with ``kwargs``.

    ``metric`` and ``mode`` may be given to every algorithm; those that use none drop them.

    Raises:
        MissingPackageError: if the algorithm needs a package that is not installed.
        UsageError: if the name or a keyword is unknown.
    """
    made = searcher_class(search_alg)
    parameters = inspect.signature(made).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    options = {key: value for key, value in kwargs.items() if key in parameters or key not in ("metric", "mode")}
    if unknown := [key for key in options if key not in parameters and not takes_any]:
        names = ", ".join(f"'{key}'" for key in unknown)
        log.warning(
            f'The search algorithm "{search_alg}" has no argument {names}, which is ignored. It has: '
            f"{', '.join(parameters)}."
        )
        options = {key: value for key, value in options.items() if key in parameters}
    return made(**options)


def as_search_algorithm(search_alg: SearchAlgorithm | Searcher | str | None) -> SearchAlgorithm:
    """Return what a user gave as ``search_alg`` in the form that the engine can bind; None is random and grid search.

    Raises:
        UsageError: if it is none of these, or a name that :func:`create_searcher` refuses.
    """
    if search_alg is None:
        search_alg = "random"
    if isinstance(search_alg, str):
        search_alg = create_searcher(search_alg)
    if isinstance(search_alg, SearchAlgorithm):
        return search_alg
    if isinstance(search_alg, Searcher):
        limit = search_alg.stated_limit
        return SearchGenerator(search_alg if limit is None else ConcurrencyLimiter(search_alg, limit))
    raise UsageError(
        f"search_alg takes an instance of a Searcher or of BasicVariantGenerator, or a name, not {search_alg!r}."
    )
