"""Which module of hpctune has the names of which module of Ray, in all its generations.

Nothing is imported here.
"""

from __future__ import annotations

from functools import cache

_SEARCHERS = (
    *("ax", "bayesopt", "bohb", "dragonfly", "flaml", "hebo", "hyperopt", "nevergrad", "optuna", "sigopt", "skopt"),
    "zoopt",
)
_INTEGRATIONS = (
    *("aim", "comet", "horovod", "keras", "lightgbm", "mlflow", "mxnet", "pytorch_lightning", "tensorflow", "torch"),
    *("wandb", "xgboost"),
)

_TUNE: dict[str, str] = {
    "analysis": "hpctune.analysis",
    "analysis.experiment_analysis": "hpctune.experiment_analysis",
    "callback": "hpctune.callback",
    "checkpoint": "hpctune.checkpoint",
    "constants": "hpctune.constants",
    "context": "hpctune.context",
    "durable_trainable": "hpctune.durable_trainable",
    "error": "hpctune.error",
    "execution.placement_groups": "hpctune.execution.placement_groups",
    "execution": "hpctune.execution",
    "integration": "hpctune.integration",
    "logger.aim": "hpctune.integration.aim",
    "experiment": "hpctune.experiment",
    "experiment.config_parser": "hpctune.experiment",
    "experiment.experiment": "hpctune.experiment",
    "experiment.trial": "hpctune.experiment.trial",
    "function_runner": "hpctune.trainable.function_trainable hpctune.session",
    "logger": "hpctune.logger",
    "logger.logger": "hpctune.logger",
    "logger.unified": "hpctune.logger",
    "logger.csv": "hpctune.logger.csv",
    "logger.json": "hpctune.logger.json",
    "logger.tensorboardx": "hpctune.logger.tensorboardx",
    "logger.comet": "hpctune.integration.comet",
    "logger.mlflow": "hpctune.integration.mlflow",
    "logger.wandb": "hpctune.integration.wandb",
    "placement_groups": "hpctune.execution.placement_groups",
    "progress_reporter": "hpctune.progress_reporter",
    "registry": "hpctune.registry",
    "result": "hpctune.result",
    "result_grid": "hpctune.result_grid",
    "run_config": "hpctune.run_config",
    "sample": "hpctune.search.sample",
    "schedulers": "hpctune.schedulers",
    "schedulers.async_hyperband": "hpctune.schedulers.async_hyperband",
    "schedulers.hb_bohb": "hpctune.schedulers.hb_bohb",
    "schedulers.hyperband": "hpctune.schedulers.hyperband",
    "schedulers.median_stopping_rule": "hpctune.schedulers.median_stopping_rule",
    "schedulers.pb2": "hpctune.schedulers.pb2",
    "schedulers.pbt": "hpctune.schedulers.pbt",
    "schedulers.resource_changing_scheduler": "hpctune.schedulers.resource_changing_scheduler",
    "schedulers.trial_scheduler": "hpctune.schedulers.trial_scheduler",
    "session": "hpctune.session",
    "sklearn": "hpctune.sklearn",
    "stopper": "hpctune.stopper",
    **{
        f"stopper.{name}": f"hpctune.stopper.{name}"
        for name in (
            *("experiment_plateau", "function_stopper", "maximum_iteration", "noop", "stopper", "timeout"),
            "trial_plateau",
        )
    },
    "sync_client": "hpctune.syncer",
    "syncer": "hpctune.syncer",
    "trainable": "hpctune.trainable",
    "trainable.function_trainable": "hpctune.trainable.function_trainable",
    "trainable.session": "hpctune.session",
    "trainable.trainable": "hpctune.trainable.trainable",
    "trainable.trainable_fn_utils": "hpctune",
    "trainable.util": "hpctune.trainable.util",
    "track": "hpctune.ray.track",
    "trial": "hpctune.experiment.trial",
    "tune": "hpctune.tune",
    "tune_config": "hpctune.tune_config",
    "tuner": "hpctune.tuner",
    "utils": "hpctune.utils",
    "utils.callback": "hpctune.utils.callback",
    "utils.log": "hpctune.utils.log",
    "utils.mock_trainable": "hpctune.ray.mock_trainable",
    "utils.placement_groups": "hpctune.execution.placement_groups",
    "utils.serialization": "hpctune.utils.serialization",
    "utils.trainable": "hpctune.trainable.util hpctune.trainable",
    "utils.util": "hpctune.utils.util",
    "util": "hpctune.utils",
    "web_server": "hpctune.web_server",
    "cli": "",
    "cli.commands": "hpctune.cli.commands",
    "commands": "hpctune.cli.commands",
    **{f"integration.{name}": f"hpctune.integration.{name}" for name in (*_INTEGRATIONS, "ray_train")},
    "integration.docker": "hpctune.syncer",
    "integration.kubernetes": "hpctune.syncer",
}
for _old in ("search", "suggest"):
    _TUNE |= {
        _old: "hpctune.search",
        f"{_old}.basic_variant": "hpctune.search.basic_variant",
        f"{_old}.concurrency_limiter": "hpctune.search.concurrency_limiter",
        f"{_old}.repeater": "hpctune.search.repeater",
        f"{_old}.sample": "hpctune.search.sample",
        f"{_old}.search": "hpctune.search.search_algorithm",
        f"{_old}.search_algorithm": "hpctune.search.search_algorithm",
        f"{_old}.search_generator": "hpctune.search.search_generator",
        f"{_old}.searcher": "hpctune.search.searcher hpctune.search.concurrency_limiter",
        f"{_old}.suggestion": "hpctune.search.searcher hpctune.search.concurrency_limiter hpctune.search",
        f"{_old}.util": "hpctune.search.searcher",
        f"{_old}.variant_generator": "hpctune.search.variant_generator",
        **{f"{_old}.{name}": f"hpctune.search.{name}" for name in _SEARCHERS},
        **{f"{_old}.{name}.{name}_search": f"hpctune.search.{name}" for name in _SEARCHERS},
    }

_OTHERS: dict[str, str] = {
    "ray": "hpctune.ray.core hpctune.ray.remote hpctune.ray.machine",
    "ray.actor": "hpctune.ray.remote",
    "ray.air": "hpctune.ray.train",
    "ray.air.callbacks": "",
    **{f"ray.air.callbacks.{name}": f"hpctune.integration.{name}" for name in ("comet", "keras", "mlflow", "wandb")},
    "ray.air.checkpoint": "hpctune.checkpoint",
    "ray.air.config": "hpctune.ray.train",
    "ray.air.constants": "hpctune.result hpctune.ray.train",
    "ray.air.integrations": "",
    **{f"ray.air.integrations.{name}": f"hpctune.integration.{name}" for name in ("comet", "keras", "mlflow", "wandb")},
    "ray.air.result": "hpctune.result",
    "ray.air.session": "hpctune.session",
    **{
        f"ray.{name}": "cloudpickle"
        for name in ("cloudpickle", "cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast")
    },
    "ray.exceptions": "hpctune.ray.exceptions",
    "ray.remote_function": "hpctune.ray.remote",
    "ray.runtime_context": "hpctune.ray.machine",
    "ray.runtime_env": "",
    "ray._private": "",
    "ray._private.services": "",
    "ray.services": "",
    "ray.train": "hpctune.ray.train",
    "ray.train.backend": "hpctune.train.backend",
    "ray.train.base_trainer": "hpctune.train.data_parallel_trainer",
    "ray.train.callbacks": "",
    "ray.train.context": "hpctune.context hpctune.ray.train",
    "ray.train.constants": "hpctune.result",
    "ray.train.data_parallel_trainer": "hpctune.train.data_parallel_trainer",
    "ray.train.error": "hpctune.ray.train",
    "ray.train.huggingface": "hpctune.integration.transformers",
    "ray.train.huggingface.transformers": "hpctune.integration.transformers",
    "ray.train.lightgbm": "hpctune.train.lightgbm",
    "ray.train.lightgbm.lightgbm_trainer": "hpctune.train.lightgbm",
    "ray.train.lightning": "hpctune.train.lightning",
    "ray.train.tensorflow": "hpctune.train.tensorflow",
    "ray.train.tensorflow.config": "hpctune.train.tensorflow",
    "ray.train.tensorflow.tensorflow_checkpoint": "hpctune.train.tensorflow",
    "ray.train.tensorflow.tensorflow_trainer": "hpctune.train.tensorflow",
    "ray.train.tensorflow.keras": "hpctune.integration.keras",
    "ray.train.torch": "hpctune.train.torch",
    "ray.train.torch.config": "hpctune.train.torch",
    "ray.train.torch.torch_checkpoint": "hpctune.train.torch",
    "ray.train.torch.torch_trainer": "hpctune.train.torch",
    "ray.train.torch.train_loop_utils": "hpctune.train.torch",
    "ray.train.xgboost": "hpctune.train.xgboost",
    "ray.train.xgboost.config": "hpctune.train.xgboost",
    "ray.train.xgboost.xgboost_trainer": "hpctune.train.xgboost",
    "ray.tune": "hpctune",
    "ray.util": "hpctune.ray.util",
    "ray.util.actor_pool": "hpctune.ray.util",
    "ray.util.annotations": "hpctune.ray.annotations",
    "ray.util.debug": "hpctune.ray.util",
    "ray.util.multiprocessing": "hpctune.ray.pool",
    "ray.util.placement_group": "hpctune.ray.util",
    "ray.util.queue": "hpctune.ray.queue",
    "ray.util.scheduling_strategies": "hpctune.ray.util",
}
_HOMES = {**_OTHERS, **{f"ray.tune.{name}": home for name, home in _TUNE.items() if name}}

VALUES: dict[tuple[str, str], str] = {
    ("ray", "__version__"): "hpctune.ray:VERSION",
    ("ray.runtime_env", "RuntimeEnv"): "builtins:dict",
    **{
        (home, "get_node_ip_address"): "hpctune.ray.machine:get_node_ip_address"
        for home in ("ray.services", "ray._private.services")
    },
    **{
        (home, "SuggestionAlgorithm"): "hpctune.ray.suggestion:SuggestionAlgorithm"
        for home in ("ray.tune.suggest", "ray.tune.suggest.suggestion")
    },
    **{
        (home, name): f"hpctune.ray.old_utils:{name}"
        for home in ("ray.tune.utils", "ray.tune.utils.util")
        for name in ("SafeFallbackEncoder", "env_integer", "is_nan_or_inf")
    },
    **{
        (f"ray.air.{home}.keras", "Callback"): "hpctune.integration.keras:TuneReportCheckpointCallback"
        for home in ("callbacks", "integrations")
    },
    **{
        ("ray.tune.logger", name): "hpctune.integration.mlflow:MLflowLogger"
        for name in ("MLFLowLogger", "MLflowLogger")
    },
    ("ray.tune", "Checkpoint"): "hpctune.checkpoint:Checkpoint",
    ("ray.tune", "Analysis"): "hpctune.experiment_analysis:ExperimentAnalysis",
    ("ray.tune", "durable"): "hpctune.durable_trainable:durable",
    ("ray.tune", "DurableTrainable"): "hpctune.durable_trainable:DurableTrainable",
    ("ray.tune", "EarlyStopping"): "hpctune.stopper:ExperimentPlateauStopper",
    **{(home, "function"): "hpctune.ray.core:function" for home in ("ray.tune", "ray.tune.sample")},
    ("ray.tune.analysis", "Analysis"): "hpctune.experiment_analysis:ExperimentAnalysis",
    ("ray.tune.stopper", "EarlyStopping"): "hpctune.stopper:ExperimentPlateauStopper",
    ("ray.tune", "is_session_enabled"): "hpctune:is_session_enabled",
    ("ray.tune", "save_checkpoint"): "hpctune.session:save_checkpoint",
    ("ray.tune", "load_checkpoint"): "hpctune.session:load_checkpoint",
    ("ray.tune", "ScalingConfig"): "hpctune.train.scaling:ScalingConfig",
    **{
        (home, "_BackwardsCompatibleNumpyRng"): "hpctune.ray.random_numbers:CompatibleGenerator"
        for home in ("ray.tune.sample", "ray.tune.search.sample", "ray.tune.suggest.sample")
    },
    **{
        (home, name): f"hpctune:{name}"
        for home in ("ray.tune.util", "ray.tune.utils", "ray.tune.utils.util")
        for name in ("pin_in_object_store", "get_pinned_object")
    },
}
"""Names that are elsewhere than the rest of their module: "module:name"."""


@cache
def children(module: str) -> tuple[str, ...]:
    """The modules directly below ``module``."""
    prefix = f"{module}."
    below = (name.removeprefix(prefix) for name in _HOMES if name.startswith(prefix))
    return tuple(sorted({name.partition(".")[0] for name in below}))


@cache
def known(module: str) -> bool:
    """Whether there is this module."""
    return module in _HOMES


def sources(module: str) -> tuple[str, ...]:
    """The modules of hpctune in which the names of ``module`` are."""
    return tuple(_HOMES.get(module, "").split())
