"""``ray.tune.utils.mock_trainable``: a trainable that learns nothing, for examples and tests."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from hpctune.launch.trainables import register_trainable
from hpctune.worker.trainable import Trainable

MOCK_TRAINABLE_NAME = "mock_trainable"


class MyTrainableClass(Trainable):
    """Reports a reward that grows with each step: fast for a small ``width``, up to ``height``."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start at step 0."""
        self.timestep = 0

    def step(self) -> dict[str, Any]:
        """The next reward."""
        self.timestep += 1
        reward = math.tanh(self.timestep / float(self.config.get("width", 1)))
        return {"episode_reward_mean": reward * self.config.get("height", 1)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save the step."""
        Path(checkpoint_dir, "state.json").write_text(json.dumps({"timestep": self.timestep}))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from a saved step."""
        self.timestep = json.loads(Path(checkpoint, "state.json").read_text())["timestep"]


def register_mock_trainable() -> None:
    """Register it by its name."""
    register_trainable(MOCK_TRAINABLE_NAME, MyTrainableClass)


__all__ = ["MOCK_TRAINABLE_NAME", "MyTrainableClass", "register_mock_trainable"]
