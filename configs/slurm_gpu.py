"""One GPU for each trial on a Slurm cluster. Partition and account differ from site to site: give them as flags.

    hpctune run configs/slurm_gpu.py -p gpu -A myproject --dry-run       # shows the batch script, submits nothing
    hpctune run configs/slurm_gpu.py -p gpu -A myproject --set steps=200

What the command line says goes before what this file says.
"""

import os
import time

import hpctune as tune


def train(config):
    """Stands in for a training loop: torch, JAX and TensorFlow use the GPUs in CUDA_VISIBLE_DEVICES by themselves."""
    print("GPUs of this trial:", os.environ.get("CUDA_VISIBLE_DEVICES", "none"), flush=True)
    for step in range(1, config["steps"] + 1):
        time.sleep(0.01)
        tune.report({"loss": (config["lr"] * 100 - 1) ** 2 + 1 / step})


tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 4, "gpu": 1, "memory": 8 * 2**30}),
    param_space={"lr": tune.loguniform(1e-4, 1e-1), "steps": 50},
    tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=8, max_concurrent_trials=4),
    run_config=tune.RunConfig(failure_config=tune.FailureConfig(max_failures=2), verbose=1),
    slurm=tune.SlurmOptions(
        time="0:30:00",  # what one trial needs at most; it goes on in another job if that was not enough
        # partition="gpu", account="myproject", qos="normal",
        # setup=["source ~/venv/bin/activate"], modules=["cuda/12.4"],
    ),
)
