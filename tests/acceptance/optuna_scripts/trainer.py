"""A class with arguments, conditional parameters, a pruner that may be off."""

import argparse

import optuna
from optuna.trial import TrialState


class Objective:
    def __init__(self, args, data):
        self.args, self.data = args, data

    def __call__(self, trial: optuna.Trial) -> float:
        kind = trial.suggest_categorical("classifier", ["SVC", "RandomForest"])
        if kind == "SVC":
            score = trial.suggest_float("svc_c", 1e-10, 1e10, log=True) / 1e10
        else:
            score = trial.suggest_int("rf_max_depth", 2, 32, log=True)
        for i in range(trial.suggest_int("n_layers", 1, 3)):
            score += trial.suggest_int(f"n_units_l{i}", 4, 128) * self.args.scale
        for step in range(3):
            trial.report(score + step, step)
            if trial.should_prune():
                raise optuna.exceptions.TrialPruned()
        return score + len(self.data)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--pruning", "-p", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    args = parse()
    pruner = optuna.pruners.MedianPruner() if args.pruning else optuna.pruners.NopPruner()
    study = optuna.create_study(direction="minimize", pruner=pruner, sampler=optuna.samplers.TPESampler(seed=2))
    study.optimize(Objective(args, list(range(10))), n_trials=args.trials, timeout=600)
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    print([(t.params, t.value) for t in study.trials], len(complete))
