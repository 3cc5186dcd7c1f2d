"""A study in a journal file, of a library that trains; nothing of the data is in the objective's arguments."""

import lightgbm as lgb
import numpy as np
import optuna
import sklearn.datasets
import sklearn.metrics
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sklearn.model_selection import train_test_split


def objective(trial):
    data, target = sklearn.datasets.load_breast_cancer(return_X_y=True)
    train_x, valid_x, train_y, valid_y = train_test_split(data, target, test_size=0.25, random_state=0)
    params = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "lambda_l1": trial.suggest_float("lambda_l1", 1e-8, 10.0, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 2, 32),
    }
    booster = lgb.train(params, lgb.Dataset(train_x, label=train_y), num_boost_round=5)
    return sklearn.metrics.accuracy_score(valid_y, np.rint(booster.predict(valid_x)))


if __name__ == "__main__":
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend("journal.log")),
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=1),
        load_if_exists=True,
        study_name="lgb",
    )
    study.optimize(objective, n_trials=4)
    print([(t.params, t.value) for t in study.trials])
