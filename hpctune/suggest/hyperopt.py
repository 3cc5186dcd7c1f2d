"""The older name of :mod:`hpctune.search.hyperopt`."""

from hpctune.search.hyperopt import HyperOptSearch

__all__ = ["HyperOptSearch"]
