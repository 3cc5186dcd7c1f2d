"""The older name of :mod:`hpctune.search.optuna`."""

from hpctune.search.optuna import OptunaSearch

__all__ = ["OptunaSearch"]
