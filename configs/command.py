"""A trial can be any program: here a few lines of awk.

    hpctune run configs/command.py

Braces in the command are parameters; lines of output that begin with "hpctune:" are results.
"""

from pathlib import Path

import hpctune as tune

program = Path(__file__).with_name("descent.awk")

tuner = tune.Tuner(
    tune.Command(["awk", "-v", "lr={lr}", "-f", str(program)]),
    param_space={"lr": tune.grid_search([0.001, 0.01, 0.1, 0.4, 0.9])},
    tune_config=tune.TuneConfig(metric="loss", mode="min"),
    run_config=tune.RunConfig(stop={"training_iteration": 20}, verbose=1),
)
