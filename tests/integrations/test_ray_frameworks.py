"""Frameworks that search with Ray by themselves, or by its names, with the real packages: they get hpctune."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FLAML = """
from flaml import CFO, BlendSearch
from ray import tune

def train(config):
    for _ in range(2):
        tune.report({"loss": (config["x"] - 1) ** 2 + config["y"]})

space = {"x": tune.uniform(-3, 3), "y": tune.randint(0, 5)}
for kind in (BlendSearch, CFO):
    algo = kind(metric="loss", mode="min", space=space, low_cost_partial_config={"y": 0})
    found = tune.run(train, search_alg=algo, num_samples=4, metric="loss", mode="min", verbose=0)
    print("found", kind.__name__, len(found.trials), type(found).__module__.partition(".")[0])
"""
FLAMLS_OWN_RUN = """
from flaml import tune

def train(config):
    return {"loss": (config["x"] - 1) ** 2}

found = tune.run(train, config={"x": tune.uniform(-3, 3)}, metric="loss", mode="min", num_samples=4, use_ray=True)
print("found", len(found.trials), type(found).__module__.partition(".")[0])
"""
XGBOOST = """
import numpy as np
import xgboost
from ray import tune
from ray.tune.integration.xgboost import TuneReportCheckpointCallback

X = np.random.default_rng(0).normal(size=(80, 3))

def train(config):
    data = xgboost.DMatrix(X, (X[:, 0] > 0).astype(int))
    params = {"objective": "binary:logistic", "nthread": 1, "eta": config["eta"], "eval_metric": "logloss"}
    callback = TuneReportCheckpointCallback({"loss": "eval-logloss"})
    xgboost.train(params, data, 3, evals=[(data, "eval")], verbose_eval=False, callbacks=[callback])

space = {"eta": tune.grid_search([0.1, 0.5])}
found = tune.Tuner(train, param_space=space, tune_config=tune.TuneConfig(metric="loss", mode="min")).fit()
model = TuneReportCheckpointCallback.get_model(found.get_best_result().checkpoint)
print("found", found.get_best_result().config["eta"], model.num_boosted_rounds())
"""
LIGHTNING = """
import lightning.pytorch as pl
import torch
from ray import tune
from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback

class Line(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr, self.layer = lr, torch.nn.Linear(1, 1)

    def training_step(self, batch, _):
        return ((self.layer(batch[0]) - batch[1]) ** 2).mean()

    def validation_step(self, batch, _):
        self.log("loss", ((self.layer(batch[0]) - batch[1]) ** 2).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)

def train(config):
    pl.seed_everything(1)
    x = torch.linspace(0, 1, 16)[:, None]
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 2 * x), batch_size=8)
    callback = TuneReportCheckpointCallback({"loss": "loss"}, on="validation_end")
    trainer = pl.Trainer(max_epochs=2, callbacks=[callback], logger=False, enable_progress_bar=False,
                         enable_checkpointing=False, accelerator="cpu")
    trainer.fit(Line(config["lr"]), data, data)

found = tune.run(train, config={"lr": tune.grid_search([0.001, 0.5])}, metric="loss", mode="min", verbose=0)
print("found", found.best_config["lr"], found.best_checkpoint is not None)
"""
OWN_LIGHTNING_CALLBACK = """
class Every(TuneReportCheckpointCallback):
    ends = 0

    def on_validation_end(self, trainer, pl_module):
        self.ends += 1
        super().on_validation_end(trainer, pl_module)

    def _handle(self, trainer, pl_module):
        if trainer.sanity_checking:
            return
        found = self._get_report_dict(trainer, pl_module)
        found["ends"] = self.ends
        with self._get_checkpoint(trainer) as checkpoint:
            tune.report(found, checkpoint=checkpoint)

def train"""
TRANSFORMERS = """
import torch
from ray import tune
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

def model(trial=None):
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))

data = [{"input_ids": [n % 50, (3 * n) % 50], "labels": n % 2} for n in range(16)]
arguments = TrainingArguments("out", eval_strategy="epoch", num_train_epochs=2, report_to=[], use_cpu=True,
                              save_strategy="no", disable_tqdm=True)
trainer = Trainer(model_init=model, args=arguments, train_dataset=data, eval_dataset=data)
best = trainer.hyperparameter_search(
    hp_space=lambda trial: {"learning_rate": tune.grid_search([1e-5, 1e-2])}, backend="ray", direction="minimize",
    n_trials=1, compute_objective=lambda metrics: metrics["eval_loss"])
print("found", sorted(best.hyperparameters))
"""


def run(script: str, tmp_path: Path) -> list[str]:
    (tmp_path / "script.py").write_text(script)
    env = {**os.environ, "HPCTUNE_RESULT_DIR": str(tmp_path / "results")}
    command = [sys.executable, "-m", "hpctune.cli.main", "run", "script.py", "--cluster", "local"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removeprefix("found ") for line in done.stdout.splitlines() if line.startswith("found ")]


@pytest.mark.nightly
def test_flamls_searchers(tmp_path: Path) -> None:
    pytest.importorskip("flaml")
    assert run(FLAML, tmp_path) == ["BlendSearch 4 hpctune", "CFO 4 hpctune"]


@pytest.mark.nightly
def test_flamls_own_run(tmp_path: Path) -> None:
    pytest.importorskip("flaml")
    assert run(FLAMLS_OWN_RUN, tmp_path) == ["4 hpctune"]


def test_xgboost(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    assert run(XGBOOST, tmp_path) == ["0.5 3"]


@pytest.mark.nightly
def test_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    assert run(LIGHTNING, tmp_path) == ["0.5 True"]


@pytest.mark.nightly
def test_a_lightning_callback_that_overrides_what_ray_keeps_to_itself(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    script = LIGHTNING.replace("\ndef train", OWN_LIGHTNING_CALLBACK)
    script = script.replace("= TuneReportCheckpointCallback(", "= Every(")
    script += "print('found', found.best_result['ends'])"
    assert run(script, tmp_path) == ["0.5 True", "3"]


@pytest.mark.nightly
def test_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    assert run(TRANSFORMERS, tmp_path) == ["['learning_rate']"]
