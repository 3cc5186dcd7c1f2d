"""Every public name of Ray that a tuning script can import is here, or a message says why it is not."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "ray_names.py"
CODE = f"""
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("ray_names", {str(SCRIPT)!r})
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
record = json.loads((module.RECORDS / f"ray_names_{{sys.argv[1]}}.json").read_text())
assert record["version"].startswith(f"{{sys.argv[1]}}.") and len(record["names"]) > 50
print(json.dumps(module.missing_in_hpctune(record["names"])))
"""


@pytest.mark.parametrize("generation", ["0", "1", "2"])
def test_nothing_is_missing(generation: str) -> None:
    command = [sys.executable, "-c", CODE, generation]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == []


OLD = """
ray.tune.function_runner.wrap_function ray.tune.integration.keras ray.tune.integration.mxnet ray.tune.integration.torch
ray.tune.integration.horovod ray.tune.integration.tensorflow ray.tune.integration.wandb ray.tune.integration.mlflow
ray.tune.integration.xgboost ray.tune.integration.lightgbm ray.tune.integration.pytorch_lightning
ray.tune.logger.CSVLogger ray.tune.logger.DEFAULT_LOGGERS ray.tune.logger.JsonLogger ray.tune.logger.TBXLogger
ray.tune.sample.Categorical ray.tune.schedulers.ASHAScheduler ray.tune.schedulers.pb2.PB2
ray.tune.session.get_trial_id ray.tune.session.report ray.tune.stopper.CombinedStopper
ray.tune.suggest.BasicVariantGenerator ray.tune.suggest.ConcurrencyLimiter ray.tune.suggest.Repeater
ray.tune.suggest.Searcher ray.tune.suggest.ax.AxSearch ray.tune.suggest.basic_variant.BasicVariantGenerator
ray.tune.suggest.bayesopt.BayesOptSearch ray.tune.suggest.bohb.TuneBOHB ray.tune.suggest.dragonfly.DragonflySearch
ray.tune.suggest.flaml.CFO ray.tune.suggest.hebo.HEBOSearch ray.tune.suggest.hyperopt.HyperOptSearch
ray.tune.suggest.nevergrad.NevergradSearch ray.tune.suggest.optuna.OptunaSearch ray.tune.suggest.sigopt.SigOptSearch
ray.tune.suggest.skopt.SkOptSearch ray.tune.suggest.suggestion.ConcurrencyLimiter ray.tune.suggest.suggestion.Searcher
ray.tune.suggest.variant_generator.generate_variants ray.tune.suggest.zoopt.ZOOptSearch ray.tune.syncer.SyncConfig
ray.tune.integration.docker.DockerSyncer ray.tune.integration.kubernetes.NamespacedKubernetesSyncer
ray.tune.trial.Trial ray.tune.trial.ExportFormat ray.tune.utils.placement_groups.PlacementGroupFactory
ray.tune.utils.trainable.with_parameters ray.tune.utils.wait_for_gpu ray.tune.durable ray.tune.DurableTrainable
ray.tune.Analysis ray.tune.function ray.tune.get_trial_dir ray.tune.checkpoint_dir ray.tune.is_session_enabled
ray.tune.experiment.Experiment ray.tune.experiment.trial.Trial ray.tune.error.TuneError ray.tune.resources
ray.tune.result.DEFAULT_RESULTS_DIR ray.air.session.report ray.air.config.ScalingConfig ray.air.checkpoint.Checkpoint
ray.air.callbacks.wandb ray.air.callbacks.mlflow ray.cloudpickle.dumps ray.cloudpickle.register_pickle_by_value
ray.runtime_env.RuntimeEnv ray.util.debug.log_once
ray.services.get_node_ip_address ray._private.services.get_node_ip_address ray.util.annotations.PublicAPI
ray.util.annotations.DeveloperAPI ray.util.annotations.Deprecated ray.util.annotations.RayDeprecationWarning
ray.tune.function_runner.StatusReporter ray.tune.suggest.SuggestionAlgorithm ray.tune.logger.MLFLowLogger
ray.tune.suggest.suggestion.SuggestionAlgorithm ray.tune.integration.wandb.WandbLogger
ray.tune.integration.mlflow.MLflowLogger ray.tune.utils.env_integer ray.tune.utils.util.SafeFallbackEncoder
""".split()  # noqa: SIM905


def test_names_of_older_generations() -> None:
    code = "\n".join(
        [
            "import hpctune.ray; hpctune.ray.install(); import ray; from hpctune.ray import modules",
            f"for name in {OLD!r}:",
            "    module, _, member = name.rpartition('.')",
            "    try: modules.found(module, member)",
            "    except modules.RayNameError:",
            "        if not modules.reason_for(name): print(name)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


HERE = """
constants.TUNE_ENV_VARS durable_trainable.durable execution.placement_groups.PlacementGroupFactory
execution.placement_groups.resource_dict_to_pg_factory experiment.experiment.Experiment experiment.trial.Trial
logger.csv.CSVLoggerCallback logger.json.JsonLoggerCallback logger.tensorboardx.TBXLoggerCallback
logger.wandb.WandbLoggerCallback registry.get_trainable_cls registry.is_function_trainable registry.validate_trainable
result.AUTO_RESULT_KEYS result.DEFAULT_METRIC schedulers.SCHEDULER_IMPORT search.SEARCH_ALG_IMPORT
search.sample.BaseSampler search.variant_generator.RecursiveDependencyError search.variant_generator.assign_value
session.report session.get_trial_id suggest.ConcurrencyLimiter suggest.hyperopt.HyperOptSearch
suggest.suggestion.Searcher trainable.function_trainable.FunctionTrainable trainable.trainable.Trainable
trainable.util.with_resources utils.callback.DEFAULT_CALLBACK_CLASSES utils.log.Verbosity
utils.serialization.TuneFunctionEncoder utils.util.retry_fn
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", HERE)
def test_hpctune_has_it_under_the_same_path(name: str) -> None:
    module, _, member = name.rpartition(".")
    assert getattr(importlib.import_module(f"hpctune.{module}"), member) is not None


@pytest.mark.nightly
def test_the_record_is_of_the_ray_that_is_installed() -> None:
    python = os.environ.get("RAY_PYTHON")
    if not python:
        pytest.skip("RAY_PYTHON names no Python that has Ray")
    subprocess.run([sys.executable, str(SCRIPT), "--ray", python], check=True)
