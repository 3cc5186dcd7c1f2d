"""The older name of :mod:`hpctune.search.bayesopt`."""

from hpctune.search.bayesopt import BayesOptSearch

__all__ = ["BayesOptSearch"]
