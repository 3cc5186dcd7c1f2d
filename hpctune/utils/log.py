"""``hpctune.utils.log``: how much is shown."""

from enum import IntEnum


class Verbosity(IntEnum):
    """Values of ``verbose=``."""

    V0_MINIMAL = 0
    V1_EXPERIMENT = 1
    V2_TRIAL_NORM = 2
    V3_TRIAL_DETAILS = 3


__all__ = ["Verbosity"]
