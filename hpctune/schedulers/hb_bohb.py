"""HyperBand in the order that BOHB needs: Falkner et al., "BOHB: Robust and Efficient Hyperparameter Optimization at
Scale", ICML 2018."""

from __future__ import annotations

from hpctune.schedulers.halving import Rung
from hpctune.schedulers.hyperband import HyperBandScheduler


class HyperBandForBOHB(HyperBandScheduler):
    """HyperBand whose largest bracket comes first, so that the searcher's model has many short trials to begin with.

    Made for :class:`hpctune.search.bohb.TuneBOHB`; the arguments are those of :class:`HyperBandScheduler`.
    """

    made_for = "TuneBOHB"
    """The searcher whose model the short trials are for."""

    def _order(self, table: list[list[Rung]]) -> list[list[Rung]]:
        return table[::-1]
