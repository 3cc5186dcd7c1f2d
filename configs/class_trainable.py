"""The class form of a trainable: hpctune decides when a step is made and when a checkpoint is saved.

hpctune run configs/class_trainable.py
"""

import json
from pathlib import Path

import hpctune as tune


class Newton(tune.Trainable):
    """Finds the square root of ``value``; ``damping`` slows it down."""

    def setup(self, config):
        self.x = config["start"]

    def step(self):
        full = (self.config["value"] / self.x - self.x) / 2
        self.x += (1 - self.config["damping"]) * full
        return {"error": abs(self.x**2 - self.config["value"])}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "state.json").write_text(json.dumps({"x": self.x}))

    def load_checkpoint(self, checkpoint_dir):
        self.x = json.loads(Path(checkpoint_dir, "state.json").read_text())["x"]


tuner = tune.Tuner(
    Newton,
    param_space={
        "value": 2.0,
        "start": tune.choice([1.0, 10.0, 100.0]),
        "damping": tune.uniform(0.0, 0.9),
    },
    tune_config=tune.TuneConfig(metric="error", mode="min", num_samples=6),
    run_config=tune.RunConfig(
        stop={"training_iteration": 12},
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=4, checkpoint_at_end=True, num_to_keep=2),
        failure_config=tune.FailureConfig(max_failures=2),
        verbose=1,
    ),
)
