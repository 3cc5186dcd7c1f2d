import optuna

SPACE = {"x": [-1, 0, 1], "y": [10.0, 20.0]}


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_int("x", -100, 100) ** 2 + trial.suggest_float("y", -100, 100)


study = optuna.create_study(sampler=optuna.samplers.GridSampler(SPACE, seed=1))
study.optimize(objective)
for trial in sorted(study.trials, key=lambda t: (t.params["x"], t.params["y"])):
    print(trial.state.name, trial.params, trial.value)
