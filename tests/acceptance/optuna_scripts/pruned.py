"""The shape of Optuna's own pruning examples."""

import optuna


def objective(trial):
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 3)
    units = [trial.suggest_int(f"units_{i}", 4, 128, log=True) for i in range(layers)]
    optimizer = trial.suggest_categorical("optimizer", ["Adam", "SGD", None])
    accuracy = 0.0
    for epoch in range(4):
        accuracy = 1 - abs(lr - 0.01) - 0.01 * layers - 1 / sum(units) - 0.1 / (epoch + 1)
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.exceptions.TrialPruned()
    trial.set_user_attr("n_params", sum(units))
    trial.set_user_attr("momentum", optimizer == "SGD")
    return accuracy


if __name__ == "__main__":
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=7, n_startup_trials=4),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    study.optimize(objective, n_trials=6)
    study.optimize(objective, n_trials=4)
    for trial in study.trials:
        print(trial.number, trial.state.name, trial.params, trial.value, trial.user_attrs, trial.intermediate_values)
    print("best", study.best_trial.number, study.best_params)
