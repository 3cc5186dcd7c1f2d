"""``hpctune.constants``: the environment variables of Ray Tune's guide."""

from hpctune.common.env import THEIR_NAMES

RAY_TUNE_CALLBACKS_ENV_VAR = "RAY_TUNE_CALLBACKS"
TUNE_ENV_VARS = {*THEIR_NAMES}

__all__ = ["RAY_TUNE_CALLBACKS_ENV_VAR", "TUNE_ENV_VARS"]
