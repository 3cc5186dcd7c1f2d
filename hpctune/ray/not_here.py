"""What scripts ask of Ray and hpctune does not have, and why. A name stands for all that is below it."""

from __future__ import annotations

_TRAINER = (
    "Of Ray Train's trainers there are TorchTrainer, TensorflowTrainer and DataParallelTrainer. Other training runs as "
    "a function in one process, or in several with DataParallelTrainer."
)
_MIXED = "Use torch.amp in the training function."
_INTERNAL = "It is internal to Ray."
_CODE = "Only Python's functions can be called."
_OBJECTS = "Objects are pickled with cloudpickle: give the class a __reduce__."


def _each(prefix: str, names: str, reason: str) -> dict[str, str]:
    return {f"{prefix}{name}": reason for name in names.split()}


NOT_HERE: dict[str, str] = {
    "ray.rllib": "RLlib needs Ray's own workers: hpctune run --ray installed, or a library that trains in one process.",
    "ray.data": "Ray Data is not here. Load the data in the trainable, or give it with tune.with_parameters.",
    "ray.serve": "Ray Serve is not here: hpctune tunes, and serves nothing.",
    "ray.workflow": "Ray Workflows are not here.",
    "ray.dag": "Ray's graphs of tasks are not here.",
    "ray.llm": "Ray LLM is not here.",
    "ray.autoscaler": "Slurm gives and takes the nodes.",
    "ray.cluster_utils": "There is no Ray cluster: remove it, and start with hpctune run.",
    "ray.job_submission": "Jobs are Slurm's: hpctune run --sbatch runs the driver as one.",
    "ray.client": "There is no Ray cluster to connect to.",
    "ray.ml": _TRAINER,
    "ray.air.train": _TRAINER,
    **dict.fromkeys(
        ("ray.train.torch.accelerate", "ray.train.torch.backward", "ray.train.torch.prepare_optimizer"), _MIXED
    ),
    "ray.train.torch.TorchCheckpoint": "Use Checkpoint.from_directory, with torch.save in the directory.",
    "ray.train.torch.xla": "TPUs are not here.",
    "ray.train.tensorflow.TensorflowCheckpoint": "Use Checkpoint.from_directory, with model.save in the directory.",
    "ray.train.tensorflow.prepare_dataset_shard": "Ray Data is not here. Give tf.data its shard by tf.distribute.",
    "ray.train.horovod": _TRAINER,
    "ray.train.lightning": _TRAINER,
    "ray.train.huggingface": _TRAINER,
    "ray.train.xgboost": _TRAINER,
    "ray.train.lightgbm": _TRAINER,
    "ray.train.sklearn": _TRAINER,
    "ray.train.trainer": _TRAINER,
    "ray.train.get_dataset_shard": "Ray Data is not here. Load the data in the trainable.",
    "ray.tune.automl": "It is a search algorithm of 0.x: choose one of ray.tune.search.",
    "ray.tune.execution": _INTERNAL,
    "ray.tune.examples": "Ray's example scripts come with Ray. Copy the file beside your script and import it from "
    "there, or install Ray: hpctune then finds them in it.",
    "ray.tune.experimental": _INTERNAL,
    "ray.tune.impl": _INTERNAL,
    "ray.tune.integration.docker": "Slurm's nodes share a filesystem; containers are SlurmOptions(container=...).",
    "ray.tune.integration.kubernetes": "Slurm's nodes share a filesystem; containers are SlurmOptions(container=...).",
    "ray.tune.integration.ray_train": _TRAINER,
    "ray.tune.resources": "Ask with resources_per_trial, a dict, or tune.PlacementGroupFactory.",
    "ray.tune.cli.scripts": "The command line is hpctune list, hpctune note, hpctune status and hpctune best.",
    **_each(
        "ray.tune.cli.commands.",
        "DEFAULT_CLI_KEYS DEFAULT_PROJECT_INFO_KEYS EDITOR OPERATORS TIMESTAMP_FORMAT print_format_output",
        "It is internal: hpctune list --columns chooses columns.",
    ),
    "ray.tune.utils.mock": "It injects failures into Ray's own tests.",
    "ray.tune.trial_runner": _INTERNAL,
    "ray.tune.ray_trial_executor": _INTERNAL,
    "ray.util.joblib": "joblib's own backends work: remove register_ray().",
    "ray.util.sgd": _TRAINER,
    "ray.util.collective": "Use torch.distributed.",
    "ray.util.dask": "Dask is not started here.",
    "ray.util.spark": "Spark is not started here.",
    "ray.util.iter": "Parallel iterators are not here.",
    "ray._private": _INTERNAL,
    "ray.experimental": _INTERNAL,
    "ray.state": "It is ray.nodes() and ray.cluster_resources().",
    "ray.dashboard": "There is no dashboard: hpctune status shows the experiment.",
    **_each(
        "ray.",
        "ActorClassID ActorID ClusterID FunctionID JobID NodeID ObjectID PlacementGroupID TaskID UniqueID "
        "WorkerID internal widgets DynamicObjectRefGenerator air.AcquiredResources air.ResourceRequest "
        "air.config.MAX air.config.MIN tune.experiment.trial.DEBUG_PRINT_INTERVAL "
        "tune.experiment.trial.TRIAL_STATE_FILENAME tune.logger.aim.VALID_SUMMARY_TYPES "
        "tune.logger.tensorboardx.VALID_SUMMARY_TYPES tune.progress_reporter.IS_NOTEBOOK "
        "tune.progress_reporter.RemoteReporterMixin tune.progress_reporter.SKIP_RESULTS_IN_REPORT "
        "tune.progress_reporter.TrialProgressCallback tune.schedulers.pb2.import_pb2_dependencies "
        "tune.schedulers.pb2_utils tune.schedulers.util tune.search.basic_variant.SERIALIZATION_THRESHOLD "
        "tune.search.bohb.BOHB tune.search.hebo.hebo_search.SPACE_ERROR_MESSAGE "
        "tune.search.hyperopt.hyperopt_search.HYPEROPT_UNDEFINED_DETAILS "
        "tune.search.optuna.optuna_search.DEFINE_BY_RUN_WARN_THRESHOLD_S "
        "tune.trainable.function_trainable.NULL_MARKER tune.trainable.function_trainable.TEMP_MARKER "
        "tune.trainable.metadata tune.trainable.trainable.SETUP_TIME_THRESHOLD tune.utils.file_transfer "
        "tune.utils.log.disable_ipython tune.utils.mock_trainable.MOCK_ERROR_KEY tune.utils.object_cache "
        "tune.utils.release_test_util tune.utils.resource_updater tune.utils.util.START_OF_TIME "
        "tune.utils.util.Tee tune.utils.util.validate_warmstart util.accelerators util.ray_debugpy "
        "util.placement_group.NODE_ID_LABEL_KEY util.placement_group.check_placement_group_index "
        "util.placement_group.validate_placement_group exceptions.RAY_EXCEPTION_TYPES "
        "exceptions.UnserializableException air.constants.AIR_ENV_VARS air.constants.CHECKPOINT_ID_ATTR "
        "air.constants.CHECKPOINT_TUNE_METADATA_FILE "
        "air.constants.COPY_DIRECTORY_CHECKPOINTS_INSTEAD_OF_MOVING_ENV air.constants.LAZY_CHECKPOINT_MARKER_FILE "
        "air.constants.MAX_REPR_LENGTH air.constants.SESSION_MISUSE_LOG_ONCE_KEY air.constants.TENSOR_COLUMN_NAME",
        _INTERNAL,
    ),
    **_each(
        "ray.exceptions.",
        "ActorAlreadyExistsError ActorHandleNotFoundError ActorPlacementGroupRemoved ActorUnschedulableError "
        "AsyncioActorExit AuthenticationError CrossLanguageError LocalRayletDiedError ObjectFetchTimedOutError "
        "ObjectFreedError ObjectReconstructionFailedError ObjectRefStreamEndOfStreamError "
        "OufOfBandObjectRefSerializationException OutOfDiskError OwnerDiedError PendingCallsLimitExceeded "
        "PlasmaObjectNotAvailable RayCgraphCapacityExceeded RayChannelError RayChannelTimeoutError "
        "RayDirectTransportError ReferenceCountingAssertionError RpcError "
        "StreamingGeneratorReplayInconsistentError TaskPlacementGroupRemoved TaskUnschedulableError "
        "UserCodeException",
        "Nothing here raises it.",
    ),
    **_each(
        "ray.train.",
        "CheckpointConsistencyMode CheckpointUploadMode ControllerError DataConfig LoggingConfig "
        "NCCLHangError PreemptionError PreemptionInfo ReportedCheckpoint ReportedCheckpointStatus "
        "ValidationConfig ValidationFn ValidationTaskConfig WorkerGroupError get_all_reported_checkpoints "
        "get_preemption_info",
        _TRAINER,
    ),
    **_each(
        "ray.tune.registry.",
        "ENV_CREATOR KNOWN_CATEGORIES RLLIB_ACTION_DIST RLLIB_CONNECTOR RLLIB_INPUT RLLIB_MODEL "
        "RLLIB_PREPROCESSOR TEST TRAINABLE_CLASS register_input registry_contains_input registry_get_input",
        "Only RLlib asks for what is registered there.",
    ),
    **_each(
        "ray.air.integrations.wandb.",
        "WANDB_ENV_VAR WANDB_GROUP_ENV_VAR WANDB_MODE_ENV_VAR WANDB_POPULATE_RUN_LOCATION_HOOK "
        "WANDB_PROCESS_RUN_INFO_HOOK WANDB_PROJECT_ENV_VAR WANDB_SETUP_API_KEY_HOOK",
        "wandb reads its own variables; setup_wandb takes the same as arguments.",
    ),
    **_each("ray.", "Language cpp_function java_function java_actor_class", _CODE),
    **_each("ray.", "util.register_serializer util.deregister_serializer", _OBJECTS),
    **_each("ray.", "ClientBuilder util.connect util.disconnect", "There is no Ray cluster to connect to."),
    **_each("ray.", "LoggingConfig util.enable_periodic_logging", "Use the module logging."),
    **_each("ray.", "tune.utils.log.set_verbosity tune.utils.log.has_verbosity", "Set verbose= of run() or RunConfig."),
    "ray.air.DataBatchType": "Ray Data is not here. Load the data in the trainable.",
    "ray.util.pdb": "Use breakpoint() with cluster='debug'.",
    "ray.util.multiprocessing.JoinableQueue": "Use multiprocessing.JoinableQueue.",
}
