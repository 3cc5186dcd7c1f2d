"""Two objectives, constraints in attributes, an objective in a class with data."""

import optuna


class Objective:
    def __init__(self, offset):
        self.offset = offset

    def __call__(self, trial):
        x = trial.suggest_float("x", 0, 5)
        y = trial.suggest_float("y", 0, 3)
        trial.set_user_attr("constraint", ((x - 5) ** 2 + y**2 - 25, 7.7 - (x - 8) ** 2 - (y + 3) ** 2))
        return 4 * x**2 + 4 * y**2 + self.offset, (x - 5) ** 2 + (y - 5) ** 2


def constraints(trial):
    return trial.user_attrs["constraint"]


def main():
    sampler = optuna.samplers.NSGAIISampler(population_size=4, seed=5, constraints_func=constraints)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    study.set_metric_names(["cost", "distance"])
    study.optimize(Objective(offset=1), n_trials=10)
    for trial in study.trials:
        print(trial.number, trial.params, trial.values, "constraints" in trial.system_attrs)
    print("front", sorted(trial.number for trial in study.best_trials))


if __name__ == "__main__":
    main()
