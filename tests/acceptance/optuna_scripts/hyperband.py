"""Hyperband, CMA-ES-like joint sampling, a lambda, a study that is stopped by its objective."""

import optuna
from optuna.pruners import HyperbandPruner
from optuna.samplers import TPESampler

DATA = [0.3, 0.5]


def run(trial, data):
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    for step in range(1, 10):
        trial.report((x - data[0]) ** 2 + (y - data[1]) ** 2 + 1 / step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    if trial.number >= 8:
        trial.study.stop()
    return (x - data[0]) ** 2 + (y - data[1]) ** 2


study = optuna.create_study(
    study_name="hyperband",
    sampler=TPESampler(seed=1, multivariate=True, n_startup_trials=3),
    pruner=HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3),
)
study.optimize(lambda trial: run(trial, DATA), n_trials=12)
for trial in study.trials:
    print(trial.number, trial.state.name, trial.params, trial.value)
