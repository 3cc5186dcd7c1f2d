"""The ways of Ray Train's documentation to use a framework in the processes of a trial, with the real packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integrations.test_ray_frameworks import run

pytestmark = pytest.mark.nightly

LIGHTNING = """
import os
import lightning.pytorch as pl
import torch
from ray import tune
from ray.train import ScalingConfig
from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment, RayTrainReportCallback, prepare_trainer
from ray.train.torch import TorchTrainer

class Line(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr, self.layer = lr, torch.nn.Linear(1, 1)

    def training_step(self, batch, _):
        return ((self.layer(batch[0]) - 1) ** 2).mean()

    def validation_step(self, batch, _):
        self.log("loss", ((self.layer(batch[0]) - 1) ** 2).mean(), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)

def train(config):
    pl.seed_everything(1)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(16, 1)), batch_size=4)
    restored = tune.get_checkpoint()
    given = dict(max_epochs=2, logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu")
    try:
        prepare_trainer(pl.Trainer(devices=1, **given))
        raise AssertionError("a Trainer of one process")
    except tune.TuneError as error:
        assert "Give it strategy=RayDDPStrategy()" in str(error)
    trainer = prepare_trainer(pl.Trainer(
        devices="auto", strategy=RayDDPStrategy(), plugins=[RayLightningEnvironment()],
        callbacks=[RayTrainReportCallback()], **given))
    path = os.path.join(restored.path, "checkpoint.ckpt") if restored else None
    trainer.fit(Line(config["lr"]), data, data, ckpt_path=path)
    assert len(trainer.train_dataloader) == 2, "each process has half of the data"

trainer = TorchTrainer(train, scaling_config=ScalingConfig(num_workers=2))
space = {"train_loop_config": {"lr": 0.1}}
good = tune.Tuner(trainer, param_space=space, run_config=tune.RunConfig(verbose=0)).fit()[0]
names = os.listdir(good.checkpoint.path)
print("found", *[good.metrics[name] for name in ("epoch", "step", "training_iteration")], "checkpoint.ckpt" in names)
"""
BOOSTING = """
import numpy as np
import lightgbm
import xgboost
from ray import train, tune
from ray.train import ScalingConfig
from ray.train.lightgbm import LightGBMTrainer, RayTrainReportCallback as LightGBMCallback, get_network_params
from ray.train.xgboost import RayTrainReportCallback, XGBoostTrainer

X = np.random.default_rng(0).normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(int)

def part(of):
    return of[train.get_context().get_world_rank()::train.get_context().get_world_size()]

def by_xgboost(config):
    assert xgboost.collective.get_rank() == train.get_context().get_world_rank()
    data = xgboost.DMatrix(part(X), part(Y))
    params = {"objective": "binary:logistic", "eta": config["eta"], "nthread": 1, "eval_metric": "logloss"}
    xgboost.train(params, data, 3, evals=[(data, "eval")], verbose_eval=False,
                  callbacks=[RayTrainReportCallback({"loss": "eval-logloss"})])

def by_lightgbm(config):
    data = lightgbm.Dataset(part(X), part(Y))
    params = {"objective": "binary", "learning_rate": config["eta"], "num_threads": 1, "verbose": -1,
              "tree_learner": "data_parallel", **get_network_params()}
    lightgbm.train(params, data, 3, valid_sets=[data], valid_names=["eval"],
                   callbacks=[LightGBMCallback({"loss": "eval-binary_logloss"})])

def results(kind, function):
    for workers in (1, 2):
        trainer = kind(function, scaling_config=ScalingConfig(num_workers=workers))
        space = {"train_loop_config": {"eta": 0.5}}
        yield tune.Tuner(trainer, param_space=space, run_config=tune.RunConfig(verbose=0)).fit()[0]

for one in results(XGBoostTrainer, by_xgboost):
    print("found", one.metrics["loss"] < 0.3, RayTrainReportCallback.get_model(one.checkpoint).num_boosted_rounds())
for one in results(LightGBMTrainer, by_lightgbm):
    print("found", one.metrics["loss"] < 0.4, LightGBMCallback.get_model(one.checkpoint).num_trees())
"""


def test_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    assert run(LIGHTNING, tmp_path) == ["1 4 2 True"]


def test_boosted_trees(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    pytest.importorskip("lightgbm")
    assert run(BOOSTING, tmp_path) == ["True 3"] * 4


CHECKPOINTS = """
import numpy as np
from ray import tune

def of_torch():
    import torch
    from ray.train.torch import TorchCheckpoint as C
    net = torch.nn.Linear(2, 1)
    whole, parameters = C.from_model(net), C.from_state_dict({f"module.{k}": v for k, v in net.state_dict().items()})
    other = torch.nn.Linear(2, 1)
    assert parameters.get_model(other) is other
    try:
        parameters.get_model()
        raise AssertionError("parameters need a model")
    except ValueError as error:
        assert "get_model(Net())" in str(error)
    data = torch.ones(1, 2)
    assert torch.equal(other(data), net(data))
    return C, whole, lambda model: float(model(data)), float(net(data))

def of_tensorflow():
    import keras
    from ray.train.tensorflow import TensorflowCheckpoint as C
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    data = np.ones((1, 2))
    model.save("copy.h5")
    same = C.from_h5("copy.h5").get_model()
    assert np.allclose(same.predict(data, verbose=0), model.predict(data, verbose=0))
    predict = lambda m: float(m.predict(data, verbose=0)[0, 0])
    return C, C.from_model(model), predict, predict(model)

def of_trees(package, C, make, predict):
    rng = np.random.default_rng(1)
    x = rng.random((50, 2)); y = x.sum(1)
    booster = make(x, y)
    return C, C.from_model(booster), lambda m: float(predict(m, x)[0]), float(predict(booster, x)[0])

def of_xgboost():
    import xgboost as xgb
    from ray.train.xgboost import XGBoostCheckpoint as C
    return of_trees(
        xgb, C, lambda x, y: xgb.train({"max_depth": 2}, xgb.DMatrix(x, y), 3), lambda m, x: m.predict(xgb.DMatrix(x)))

def of_lightgbm():
    import lightgbm as lgb
    from ray.train.lightgbm import LightGBMCheckpoint as C
    return of_trees(
        lgb, C, lambda x, y: lgb.train({"verbose": -1}, lgb.Dataset(x, y), 3), lambda m, x: m.predict(x))

make = of_FRAMEWORK

def trial(config):
    C, checkpoint, value, expected = make()
    prepared = C._with(lambda directory: None, preprocessor={"scale": 2})
    assert prepared.get_preprocessor() == {"scale": 2} and checkpoint.get_preprocessor() is None
    tune.report({"expected": expected}, checkpoint=checkpoint)

result = tune.Tuner(trial, run_config=tune.RunConfig(verbose=0)).fit()[0]
assert result.error is None, result.error
C, _, value, _ = make()
read = C.from_checkpoint(result.checkpoint)
print("found", abs(value(read.get_model()) - result.metrics["expected"]) < 1e-5)
try:
    C.from_dict({"a": 1}).get_model()
except Exception as error:
    assert "has no model" in str(error), error
else:
    raise AssertionError("it has no model")
"""


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "xgboost", "lightgbm"])
def test_checkpoints_with_a_model(tmp_path: Path, framework: str) -> None:
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    assert run(CHECKPOINTS.replace("FRAMEWORK", framework), tmp_path) == ["True"]
