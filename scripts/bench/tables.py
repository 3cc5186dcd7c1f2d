"""Recorded learning curves as the training that a simulated job does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpctune import choice, randint

HOME = Path(__file__).parent / "curves"
UNIT = 1e-4
DIVERGED = 65535
EPOCH_S = 60.0
"""Simulated seconds of an epoch, on average over the table: what was recorded is stretched to that."""


class Table:
    """The curves of a full grid. A configuration holds the number of the value on each ordered axis.

    The loss of an epoch is the best one up to it: what a training reports that keeps its best weights.
    ``settled``: the axes that cannot change once training has begun.
    """

    def __init__(self, name: str, settled: tuple[str, ...] = ()) -> None:
        stored = np.load(HOME / f"{name}.npz")
        self.name, self.settled = name, settled
        self.grid: dict[str, list[Any]] = json.loads(str(stored["grid"]))
        whole = stored["losses"].astype(float)
        self.losses = np.fmin.accumulate(np.where(whole == DIVERGED, np.nan, whole * UNIT), axis=1)
        self.seconds = stored["seconds"] * (EPOCH_S / stored["seconds"].mean())
        self.epochs = self.losses.shape[1]
        self.best = float(np.nanmin(self.losses))
        self._shape = [len(values) for values in self.grid.values()]

    @property
    def full_s(self) -> float:
        """Simulated seconds of one training to the end, on average."""
        return EPOCH_S * self.epochs

    def space(self) -> dict[str, Any]:
        """The search space: numbers of values, and words as they are."""
        return {key: choice(values) if _words(values) else randint(0, len(values)) for key, values in self.grid.items()}

    def mutations(self) -> dict[str, list[Any]]:
        """What may change in the middle of a training, for population based training."""
        free = {key: values for key, values in self.grid.items() if key not in self.settled}
        return {key: values if _words(values) else list(range(len(values))) for key, values in free.items()}

    def row(self, config: Mapping[str, Any]) -> int:
        """Which curve is that of a configuration."""
        places = [
            values.index(config[key]) if _words(values) else int(config[key]) for key, values in self.grid.items()
        ]
        return int(np.ravel_multi_index(places, self._shape))

    def epoch_s(self, config: Mapping[str, Any]) -> float:
        """Simulated seconds of an epoch."""
        return float(self.seconds[self.row(config)])

    def step(self, config: Mapping[str, Any], before: Mapping[str, Any]) -> Mapping[str, Any]:
        """The result of the next epoch, given the result of the one before it (empty: there was none).

        Where the configuration has changed, training goes on from the point of the new curve at which it first was as
        good as the loss is now. Where it never is, the loss stays as it is.
        """
        row = self.row(config)
        curve = self.losses[row]
        place, stuck = int(before.get("place", -1)), bool(before.get("stuck", False))
        if before and before["row"] != row:
            as_good = np.flatnonzero(curve <= before["loss"])
            place, stuck = (int(as_good[0]), False) if len(as_good) else (place, True)
        place = min(place + 1, self.epochs - 1)
        loss = before["loss"] if stuck else float(curve[place])
        return {"loss": loss, "row": row, "place": place, "stuck": stuck, "cost": float(self.seconds[row])}


def _words(values: list[Any]) -> bool:
    return any(isinstance(value, str) for value in values)


TABLES = {"mlp": Table("mlp", settled=("optimizer", "hidden")), "trees": Table("trees")}
