"""``hpctune.result_grid``: what ``Tuner.fit()`` returns."""

from hpctune.analysis.result_grid import ResultGrid

__all__ = ["ResultGrid"]
