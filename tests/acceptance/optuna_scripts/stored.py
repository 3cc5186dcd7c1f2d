"""A study in a database that goes on, trials in the queue, callbacks, command-line arguments."""

import argparse
from functools import partial

import optuna
from optuna.study import MaxTrialsCallback
from optuna.trial import TrialState


def train(trial, scale):
    model = trial.suggest_categorical("model", ["linear", "tree"])
    if model == "linear":
        return scale * trial.suggest_float("alpha", 0.1, 1.0, step=0.1)
    depth = trial.suggest_int("depth", 1, 8)
    if depth == 8:
        raise ValueError("too deep")
    return scale * depth + study.user_attrs["bonus"]


def tell(study, trial):
    print("callback", trial.number, trial.state.name, len(study.get_trials(states=(TrialState.RUNNING,))) >= 0)


parser = argparse.ArgumentParser()
parser.add_argument("--storage", default="sqlite:///study.db")
parser.add_argument("--trials", type=int, default=5)
args = parser.parse_args()

study = optuna.create_study(
    study_name="stored", storage=args.storage, load_if_exists=True, sampler=optuna.samplers.RandomSampler(seed=2)
)
study.set_user_attr("bonus", 10)
study.enqueue_trial({"model": "linear", "alpha": 0.5}, user_attrs={"memo": "baseline"}, skip_if_exists=True)
study.enqueue_trial({"model": "tree", "depth": 8}, skip_if_exists=True)
study.optimize(
    partial(train, scale=2.0),
    n_trials=args.trials,
    catch=(ValueError,),
    callbacks=[tell, MaxTrialsCallback(7, states=(TrialState.COMPLETE, TrialState.FAIL))],
)
for trial in study.trials:
    print(trial.number, trial.state.name, trial.params, trial.value, trial.user_attrs)
