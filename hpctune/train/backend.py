"""What is set up in each process of a trial around the training function."""

from __future__ import annotations

from hpctune.worker.ranks.trainable import TIMEOUT_S, Backend
from hpctune.worker.ranks.world import World as World


class BackendConfig(Backend):
    """Base of backends: override ``start(world, timeout_s)`` and ``stop()``. This one sets up nothing; the variables
    RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and TF_CONFIG are set in any case.

    ``timeout_s``: seconds that the processes wait for each other.
    """

    timeout_s: float = TIMEOUT_S
