"""A search over LightGBM models that ASHA stops early. Needs lightgbm and scikit-learn.

hpctune run configs/lightgbm_search.py
"""

import hpctune as tune


def train(config):
    import lightgbm
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    from hpctune.integration.lightgbm import TuneReportCheckpointCallback

    x, y = load_breast_cancer(return_X_y=True)
    x, held_x, y, held_y = train_test_split(x, y, random_state=0)
    data = lightgbm.Dataset(x, y)
    callback = TuneReportCheckpointCallback({"loss": "eval-binary_logloss"}, frequency=10)
    lightgbm.train(
        {"objective": "binary", "metric": "binary_logloss", "num_threads": 1, "verbose": -1, **config},
        data,
        30,
        valid_sets=[lightgbm.Dataset(held_x, held_y, reference=data)],
        valid_names=["eval"],
        callbacks=[callback],
    )


tuner = tune.Tuner(
    train,
    param_space={
        "learning_rate": tune.loguniform(0.01, 0.5),
        "num_leaves": tune.lograndint(4, 64),
        "bagging_fraction": tune.uniform(0.5, 1.0),
    },
    tune_config=tune.TuneConfig(
        metric="loss", mode="min", num_samples=6, scheduler=tune.create_scheduler("asha", max_t=31, grace_period=5)
    ),
    run_config=tune.RunConfig(name="lightgbm"),
)
