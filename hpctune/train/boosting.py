"""What the trainers of boosted trees share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpctune.errors import NotYetSupportedError
from hpctune.train.data_parallel_trainer import DataParallelTrainer

_OF_RAY_DATA = ("datasets", "label_column", "params", "num_boost_round", "dmatrix_params")
"""Arguments of trainers that read Ray Data and need no function."""


class BoostingTrainer(DataParallelTrainer):
    """A trainer whose function calls the package of boosted trees itself.

    Raises:
        NotYetSupportedError: without a function, in the way of Ray Train before 2.40.
    """

    def __init__(self, train_loop_per_worker: Callable[..., Any] | None = None, **arguments: Any) -> None:
        older = [name for name in _OF_RAY_DATA if arguments.get(name) is not None]
        if train_loop_per_worker is None or older:
            me, package = type(self).__name__, type(self).__module__.rpartition(".")[2]
            raise NotYetSupportedError(
                f"{me}({older[0] if older else 'datasets'}=...) reads Ray Data, which is not here. Give it a function "
                f"that loads the data and calls {package}.train: {me}(train_loop_per_worker)."
            )
        super().__init__(train_loop_per_worker, **arguments)
