"""XGBoost and LightGBM, with the real packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpctune as tune
from hpctune.errors import UsageError

X = np.random.default_rng(0).normal(size=(80, 3))
Y = (X[:, 0] > 0).astype(int)


def search(train: Any, tmp_path: Path) -> Any:
    analysis = tune.run(train, config={"rate": 0.3}, name="e", local_dir=str(tmp_path), verbose=0)
    return analysis.trials[0]


@pytest.mark.parametrize("sklearn", [False, True])
def test_xgboost(tmp_path: Path, sklearn: bool) -> None:
    xgboost = pytest.importorskip("xgboost")

    def train(config: dict[str, float]) -> None:
        from hpctune.integration.xgboost import TuneReportCheckpointCallback

        name = "validation_0-logloss" if sklearn else "eval-logloss"
        callback = TuneReportCheckpointCallback({"loss": name}, frequency=2)
        if sklearn:
            model = xgboost.XGBClassifier(n_estimators=3, n_jobs=1, callbacks=[callback], eval_metric="logloss")
            model.fit(X, Y, eval_set=[(X, Y)], verbose=False)
        else:
            data = xgboost.DMatrix(X, Y)
            params = {"objective": "binary:logistic", "nthread": 1, "eta": config["rate"]}
            xgboost.train(params, data, 3, evals=[(data, "eval")], verbose_eval=False, callbacks=[callback])

    trial = search(train, tmp_path)
    from hpctune.integration.xgboost import TuneReportCheckpointCallback

    assert trial.last_result["loss"] < 0.7
    assert trial.last_result["training_iteration"] == 4  # three rounds, and the model at the end
    assert TuneReportCheckpointCallback.get_model(trial.checkpoint).num_boosted_rounds() == 3


@pytest.mark.parametrize("cross_validation", [False, True])
def test_xgboost_saves_all_folds_and_the_end_without_metrics(tmp_path: Path, cross_validation: bool) -> None:
    xgboost = pytest.importorskip("xgboost")

    def train(config: dict[str, float]) -> None:
        from hpctune.integration.xgboost import TuneReportCheckpointCallback

        data, params = xgboost.DMatrix(X, Y), {"objective": "binary:logistic", "nthread": 1}
        callbacks = [TuneReportCheckpointCallback()]
        if cross_validation:
            xgboost.cv(params, data, 3, nfold=2, callbacks=callbacks)
        else:
            xgboost.train(params, data, 3, callbacks=callbacks)

    trial = search(train, tmp_path)
    from hpctune.integration.xgboost import TuneReportCheckpointCallback

    for name in ("0_model.ubj", "1_model.ubj") if cross_validation else ("model.ubj",):
        assert TuneReportCheckpointCallback.get_model(trial.checkpoint, name).num_boosted_rounds() == 3
    assert ("test-logloss" in trial.last_result) == cross_validation


@pytest.mark.parametrize("sklearn", [False, True])
def test_lightgbm(tmp_path: Path, sklearn: bool) -> None:
    lightgbm = pytest.importorskip("lightgbm")

    def train(config: dict[str, float]) -> None:
        from hpctune.integration.lightgbm import TuneReportCheckpointCallback

        callback = TuneReportCheckpointCallback({"loss": "eval-binary_logloss"}, frequency=2)
        if sklearn:
            model = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1)
            model.fit(X, Y, eval_set=[(X, Y)], eval_names=["eval"], callbacks=[callback])
        else:
            data = lightgbm.Dataset(X, Y)
            params = {"objective": "binary", "num_threads": 1, "verbose": -1, "learning_rate": config["rate"]}
            lightgbm.train(params, data, 3, valid_sets=[data], valid_names=["eval"], callbacks=[callback])

    trial = search(train, tmp_path)
    from hpctune.integration.lightgbm import TuneReportCheckpointCallback

    assert trial.last_result["loss"] < 0.7
    assert trial.last_result["training_iteration"] == 3
    assert TuneReportCheckpointCallback.get_model(trial.checkpoint).num_trees() == 3


def test_what_cannot_be_meant(caplog: pytest.LogCaptureFixture) -> None:
    from hpctune.integration.reports import check_frequency, check_metrics, chosen, events_of

    with pytest.raises(UsageError, match="frequency"):
        check_frequency(-1)
    with pytest.raises(UsageError, match="metrics must be"):
        check_metrics(3)
    with pytest.raises(UsageError, match=r"'nothing'.*a, b"):
        chosen("nothing", {"a": 1, "b": 2})
    for _ in range(2):
        assert chosen(["a", "later"], {"a": 1, "b": 2}, missing_ok=True) == {"a": 1}
    assert caplog.text.count("There is no metric 'later' here. Known are: a, b.") == 1
    with pytest.raises(UsageError, match="on_never"):
        events_of("never", {"epoch_end": "on_epoch_end"})
