"""Search with tree-structured Parzen estimators, which needs no further package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpctune.search.models.axes import Axis
from hpctune.search.models.base import ModelSearch, Record
from hpctune.search.models.tpe import SETTINGS, propose

if TYPE_CHECKING:
    import numpy as np

    from hpctune.search.models.axes import Array


class TPESearch(ModelSearch):
    """Suggests what is likely among the good trials so far and unlikely among the others. Needs numpy only.

    All parameters are modelled together, conditional ones included. A trial counts with what it has reported last,
    and before it has reported anything as bad, so that parallel trials differ. It takes milliseconds with thousands
    of trials. See :class:`ModelSearch` for the arguments.
    """

    def _propose(
        self, axes: Sequence[Axis], over: list[Record], under_way: list[Record], rng: np.random.Generator
    ) -> Array:
        import numpy as np

        known = [*over, *(record for record in under_way if record.losses)]
        waiting = [record.point for record in under_way if not record.losses]
        return propose(
            axes,
            np.array([record.point for record in known]),
            np.array([record.loss for record in known]),
            np.array(waiting).reshape(len(waiting), len(axes)),
            SETTINGS,
            rng,
        )
