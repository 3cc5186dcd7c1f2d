"""A script written for Ray Tune, with another import of tune: so it runs by itself, without hpctune run.

    python configs/ray_script.py          # or, with all options of the command line: hpctune run configs/ray_script.py

The line was: from ray import tune
"""

import math

import hpctune as tune


def oscillator(config):
    """How far a damped oscillator is from rest after each second."""
    for second in range(1, 21):
        distance = math.exp(-config["damping"] * second) * abs(math.cos(config["frequency"] * second))
        tune.report({"distance": distance, "energy": distance**2})


if __name__ == "__main__":
    analysis = tune.run(
        oscillator,
        config={
            "damping": tune.loguniform(0.01, 1.0),
            "frequency": tune.grid_search([1, 2, 3]),
        },
        num_samples=3,
        metric="distance",
        mode="min",
        stop={"training_iteration": 15},
        resources_per_trial={"cpu": 1},
        verbose=1,
    )
    print("best config:", analysis.best_config)
    print("best distance:", analysis.best_result["distance"])
