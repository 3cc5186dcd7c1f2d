"""Bayesian optimization with a Gaussian process, which needs no further package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hpctune.search.models.axes import Axis
from hpctune.search.models.base import ModelSearch, Record
from hpctune.search.models.gp import Observations, propose

if TYPE_CHECKING:
    import numpy as np

    from hpctune.search.models.axes import Array

_LEVELS = 4
"""At how many of the times at which most trials end the others are looked at as well."""


class GPSearch(ModelSearch):
    """Suggests what a Gaussian process expects to improve most on the best trial so far. Needs numpy only.

    Training time is one more axis of the process, so that it learns what a scheduler's early stops say: it predicts
    what a trial would have reached. Trials under way count as though they will do as predicted, so that parallel
    trials differ. It learns from 150 trials and more, of which it then takes the best and some of the others.
    See :class:`ModelSearch` for the arguments.
    """

    def _propose(
        self, axes: Sequence[Axis], over: list[Record], under_way: list[Record], rng: np.random.Generator
    ) -> Array:
        import numpy as np

        points, losses, times = map(np.array, zip(*_observed(over, under_way), strict=True))
        longest = times[np.isfinite(times)].max(initial=0.0)
        shares = np.log1p(np.minimum(times, longest)) / np.log1p(longest) if longest > 0 else np.ones(len(times))
        return propose(
            axes,
            Observations(points, losses, shares),
            np.array([record.point for record in under_way]).reshape(len(under_way), len(axes)),
            rng,
        )


def _observed(over: Sequence[Record], under_way: Sequence[Record]) -> Iterator[tuple[tuple[float, ...], float, float]]:
    """Point, loss and time of each trial's newest result, and of those near the times at which many others ended."""
    ends = Counter(record.time for record in over)
    common = [time for time, count in ends.most_common(_LEVELS) if count >= 0.05 * len(over)]
    for record in (*over, *under_way):
        times = {record.at(time) for time in common if time < record.time} | {record.time}
        yield from ((record.point, record.losses[time], time) for time in times if time in record.losses)
