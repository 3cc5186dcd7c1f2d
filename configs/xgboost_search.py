"""A search over XGBoost models that ASHA stops early. Needs xgboost and scikit-learn.

hpctune run configs/xgboost_search.py
"""

import hpctune as tune


def train(config):
    import xgboost
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    from hpctune.integration.xgboost import TuneReportCheckpointCallback

    x, y = load_breast_cancer(return_X_y=True)
    x, held_x, y, held_y = train_test_split(x, y, random_state=0)
    callback = TuneReportCheckpointCallback({"loss": "eval-logloss"}, frequency=10)
    xgboost.train(
        {"objective": "binary:logistic", "eval_metric": "logloss", "nthread": 1, **config},
        xgboost.DMatrix(x, y),
        30,
        evals=[(xgboost.DMatrix(held_x, held_y), "eval")],
        verbose_eval=False,
        callbacks=[callback],
    )


tuner = tune.Tuner(
    train,
    param_space={
        "eta": tune.loguniform(0.01, 0.5),
        "max_depth": tune.randint(2, 9),
        "subsample": tune.uniform(0.5, 1.0),
    },
    tune_config=tune.TuneConfig(
        metric="loss", mode="min", num_samples=6, scheduler=tune.create_scheduler("asha", max_t=31, grace_period=5)
    ),
    run_config=tune.RunConfig(name="xgboost"),
)
