"""The public face: Ray Tune's names and module paths are here, and importing them costs little."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import hpctune as tune

TOP = [
    "Apptainer",
    "Callback",
    "CLIReporter",
    "Checkpoint",
    "CheckpointConfig",
    "Enroot",
    "Experiment",
    "ExperimentAnalysis",
    "FailureConfig",
    "FileTransfer",
    "JupyterNotebookReporter",
    "PlacementGroupFactory",
    "Podman",
    "ProgressReporter",
    "Pyxis",
    "Result",
    "ResultGrid",
    "ResumeConfig",
    "RunConfig",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "TuneConfig",
    "TuneContext",
    "TuneError",
    "Tuner",
    "checkpoint_dir",
    "choice",
    "create_scheduler",
    "create_searcher",
    "get_checkpoint",
    "get_context",
    "get_pinned_object",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "grid_search",
    "is_session_enabled",
    "lograndint",
    "loguniform",
    "pin_in_object_store",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "register_env",
    "register_trainable",
    "report",
    "run",
    "run_experiments",
    "sample_from",
    "uniform",
    "with_parameters",
    "with_resources",
    "Command",
    "LocalOptions",
    "SshOptions",
    "Workstation",
    "SlurmOptions",
    "Trial",
]

MODULES = {
    "analysis": "ExperimentAnalysis",
    "callback": "Callback",
    "context": "TuneContext get_context",
    "error": "TuneError",
    "experiment": "Experiment Trial _convert_to_experiment_list",
    "integration.comet": "CometLoggerCallback",
    "integration.aim": "AimLoggerCallback",
    "integration.horovod": "DistributedTrainableCreator",
    "integration.mxnet": "TuneReportCallback TuneCheckpointCallback",
    "integration.tensorflow": "DistributedTrainableCreator",
    "integration.torch": "DistributedTrainableCreator distributed_checkpoint_dir is_distributed_trainable",
    "logger": "LoggerCallback pretty_print CSVLoggerCallback JsonLoggerCallback TBXLoggerCallback",
    "progress_reporter": "CLIReporter JupyterNotebookReporter ProgressReporter",
    "registry": "register_trainable register_env",
    "result_grid": "ResultGrid",
    "schedulers": """TrialScheduler HyperBandScheduler AsyncHyperBandScheduler ASHAScheduler MedianStoppingRule
        FIFOScheduler PopulationBasedTraining PopulationBasedTrainingReplay HyperBandForBOHB ResourceChangingScheduler
        create_scheduler""",
    "schedulers.async_hyperband": "ASHAScheduler AsyncHyperBandScheduler",
    "schedulers.hb_bohb": "HyperBandForBOHB",
    "schedulers.hyperband": "HyperBandScheduler",
    "schedulers.median_stopping_rule": "MedianStoppingRule",
    "schedulers.pb2": "PB2",
    "schedulers.pbt": "PopulationBasedTraining PopulationBasedTrainingReplay",
    "schedulers.resource_changing_scheduler": """ResourceChangingScheduler DistributeResources
        evenly_distribute_cpus_gpus""",
    "schedulers.trial_scheduler": "TrialScheduler FIFOScheduler",
    "search": """SearchAlgorithm Searcher ConcurrencyLimiter Repeater BasicVariantGenerator grid_search SearchGenerator
        UNRESOLVED_SEARCH_SPACE UNDEFINED_SEARCH_SPACE UNDEFINED_METRIC_MODE create_searcher""",
    "search.basic_variant": "BasicVariantGenerator",
    "search.repeater": "Repeater",
    "stopper": """Stopper CombinedStopper ExperimentPlateauStopper FunctionStopper MaximumIterationStopper NoopStopper
        TimeoutStopper TrialPlateauStopper""",
    "syncer": "SyncConfig",
    "trainable": "Trainable with_parameters",
    "tune": "run run_experiments",
    "tune_config": "TuneConfig ResumeConfig",
    "tuner": "Tuner",
    "utils": """deep_update date_str flatten_dict merge_dicts unflattened_lookup UtilMonitor validate_save_restore
        warn_if_slow diagnose_serialization wait_for_gpu""",
}


@pytest.mark.parametrize("name", TOP)
def test_a_name_at_the_top(name: str) -> None:
    assert getattr(tune, name) is not None
    assert name in tune.__all__
    assert name in dir(tune)


def test_nothing_else_is_promised() -> None:
    assert set(tune.__all__) == {*TOP, "__version__"}
    assert sorted(tune.__all__) == sorted(set(tune.__all__))


@pytest.mark.parametrize(("module", "names"), MODULES.items())
def test_a_module_path(module: str, names: str) -> None:
    found = import_module(f"hpctune.{module}")
    assert [name for name in names.split() if not hasattr(found, name)] == []


def test_modules_are_attributes() -> None:
    for module in ("schedulers", "search", "stopper", "logger", "utils", "integration", "experiment", "error"):
        code = f"import hpctune; hpctune.{module}"
        assert inspect.ismodule(getattr(tune, module)), code


@pytest.mark.parametrize("name", [*TOP, "schedulers", "search"])
def test_the_module_tune_has_the_names_of_the_package(name: str) -> None:
    assert getattr(import_module("hpctune.tune"), name) is getattr(tune, name)


@pytest.mark.parametrize("name", ["nothing", "__path__"])
def test_unknown_names_of_the_module_tune(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'hpctune.tune' has no attribute '{name}'"):
        getattr(import_module("hpctune.tune"), name)


def test_unknown_names() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = tune.nothing


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, hpctune; print(sorted(m for m in sys.modules if m.startswith('hpctune') or m in HEAVY))"
    heavy = "HEAVY = {'numpy', 'pandas', 'submitit', 'rich', 'cloudpickle', 'paramiko', 'click', 'tensorboardX'}; "
    loaded = subprocess.run([sys.executable, "-c", heavy + code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "['hpctune', 'hpctune.version']"


def test_using_domains_and_reports_loads_no_driver() -> None:
    code = "import sys, hpctune; hpctune.uniform; hpctune.report; print('hpctune.driver.engine' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "False"


def test_the_signatures_of_ray_tune() -> None:
    def of(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert of(tune.run)[:8] == [
        "run_or_experiment",
        "name",
        "metric",
        "mode",
        "stop",
        "time_budget_s",
        "config",
        "resources_per_trial",
    ]
    assert of(tune.run_experiments)[:4] == ["experiments", "scheduler", "server_port", "verbose"]
    assert of(tune.Tuner)[:4] == ["trainable", "param_space", "tune_config", "run_config"]
    assert of(tune.Tuner.restore)[:6] == [
        "path",
        "trainable",
        "resume_unfinished",
        "resume_errored",
        "restart_errored",
        "param_space",
    ]
    assert of(tune.ExperimentAnalysis)[0] == "experiment_checkpoint_path"


def _defined(path: Path) -> set[str]:
    """The names that a module defines, whether its package is installed or not."""
    names = set[str]()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def test_integrations_that_the_documentation_names_are_there() -> None:
    root = Path(tune.__file__).parent
    pages = [root.parent / "README.md", *root.parent.glob("docs/**/*.md")]
    named = {found for page in pages for found in re.findall(r"`hpctune\.integration\.(\w+)\.(\w+)", page.read_text())}
    assert len(named) > 5
    assert {
        (module, name) for module, name in named if name not in _defined(root / f"integration/{module}.py")
    } == set()
