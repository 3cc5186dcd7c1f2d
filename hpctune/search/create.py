"""Search algorithms by name."""

from __future__ import annotations

import inspect
from typing import Any

from hpctune.errors import NotYetSupportedError, UsageError
from hpctune.search.base import SearchAlgorithm
from hpctune.search.basic_variant import BasicVariantGenerator
from hpctune.search.search_generator import SearchGenerator
from hpctune.search.searcher import Searcher

AVAILABLE = ("variant_generator", "random", "grid")
NOT_YET = (
    "optuna",
    "hyperopt",
    "bayesopt",
    "ax",
    "nevergrad",
    "hebo",
    "zoopt",
    "bohb",
    "skopt",
    "dragonfly",
    "sigopt",
    "blendsearch",
    "cfo",
)


def create_searcher(search_alg: str, **kwargs: Any) -> Searcher | SearchAlgorithm:
    """Return the search algorithm of this name, made with ``kwargs``.

    ``metric`` and ``mode`` may be given to every algorithm; those that heed none drop them.

    Raises:
        NotYetSupportedError: if this version does not have the algorithm.
        UsageError: if the name or a keyword is unknown.
    """
    works = ", ".join(f'"{name}"' for name in AVAILABLE)
    if search_alg in NOT_YET:
        raise NotYetSupportedError(
            f'The search algorithm "{search_alg}" is not supported by this version of hpctune. What works today: '
            f"{works}, or a hpctune.search.Searcher of your own that wraps it."
        )
    if search_alg not in AVAILABLE:
        raise UsageError(f'There is no search algorithm "{search_alg}". Valid names: {works}.')
    options = {key: value for key, value in kwargs.items() if key not in ("metric", "mode")}
    valid = list(inspect.signature(BasicVariantGenerator).parameters)
    unknown = ", ".join(f"'{key}'" for key in options if key not in valid)
    if unknown:
        raise UsageError(f'The search algorithm "{search_alg}" has no argument {unknown}. It has: {", ".join(valid)}.')
    return BasicVariantGenerator(**options)


def as_search_algorithm(search_alg: SearchAlgorithm | Searcher | str | None) -> SearchAlgorithm:
    """Return what a user gave as ``search_alg`` in the form that the engine can bind; None is random and grid search.

    Raises:
        UsageError: if it is none of these, or a name that :func:`create_searcher` refuses.
    """
    if search_alg is None:
        return BasicVariantGenerator()
    if isinstance(search_alg, str):
        search_alg = create_searcher(search_alg)
    if isinstance(search_alg, SearchAlgorithm):
        return search_alg
    if isinstance(search_alg, Searcher):
        return SearchGenerator(search_alg)
    raise UsageError(
        f"search_alg takes an instance of a Searcher or of BasicVariantGenerator, or a name, not {search_alg!r}."
    )
