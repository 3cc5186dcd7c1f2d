"""``hpctune.result_grid``: the results that ``Tuner.fit()`` returns."""

from hpctune.analysis.result_grid import ResultGrid

__all__ = ["ResultGrid"]
