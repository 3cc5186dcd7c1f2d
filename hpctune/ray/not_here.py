"""What scripts ask of Ray and hpctune does not have, and why. A name stands for all that is below it."""

from __future__ import annotations

_TRAINER = (
    "Of Ray Train's trainers there are TorchTrainer, TensorflowTrainer, XGBoostTrainer, LightGBMTrainer and "
    "DataParallelTrainer. Other training runs as a function in one process, or in several with DataParallelTrainer."
)
_MIXED = "Use torch.amp in the training function."
_INTERNAL = "It is internal to Ray."
_COPIES = "Copies of an experiment are made by SyncConfig(upload_dir=..., syncer=...)."
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
    "ray.train.torch.xla": "TPUs are not here.",
    "ray.train.tensorflow.prepare_dataset_shard": "Ray Data is not here. Give tf.data its shard by tf.distribute.",
    "ray.train.horovod": _TRAINER,
    **_each(
        "ray.train.",
        "lightning.LightningTrainer lightning.LightningConfigBuilder lightning.LightningCheckpoint "
        "lightning.LightningPredictor huggingface.TransformersTrainer huggingface.HuggingFaceTrainer "
        "huggingface.AccelerateTrainer huggingface.TransformersCheckpoint huggingface.TransformersPredictor "
        "huggingface.accelerate huggingface.huggingface_trainer xgboost.XGBoostPredictor "
        "lightgbm.LightGBMPredictor",
        "Call the package in the function of a TorchTrainer, XGBoostTrainer or LightGBMTrainer, as Ray Train does "
        "since 2.40.",
    ),
    "ray.train.sklearn": _TRAINER,
    "ray.train.gbdt_trainer": _TRAINER,
    **_each("ray.train.", "predictor batch_predictor torch.TorchPredictor", "Load the checkpoint, and call the model."),
    **_each(
        "ray.train.",
        "jax v2.jax",
        "Use DataParallelTrainer with a BackendConfig that calls jax.distributed.initialize: the documentation has one "
        "under 'Train each trial in several processes'.",
    ),
    "ray.train.v2": "Import the name from ray.train, or from ray.train.torch and the like.",
    **_each("ray.train.", "xgboost.v2 lightgbm.v2", "Import the name from ray.train.xgboost or ray.train.lightgbm."),
    **_each("ray.util.", "xgboost lightgbm", "Call the package itself, with the callbacks of ray.tune.integration."),
    "ray.train.trainer": _TRAINER,
    "ray.train.get_dataset_shard": "Ray Data is not here. Load the data in the trainable.",
    "ray.tune.automl": "It is a search algorithm of 0.x: choose one of ray.tune.search.",
    "ray.tune.execution": _INTERNAL,
    "ray.tune.examples": "Ray's example scripts come with Ray. Copy the file beside your script and import it from "
    "there, or install Ray: hpctune then finds them in it.",
    "ray.tune.experimental": _INTERNAL,
    "ray.tune.impl": _INTERNAL,
    **dict.fromkeys(
        (
            "ray.tune.integration.docker.DockerSyncClient",
            "ray.tune.integration.kubernetes.KubernetesSyncClient",
            "ray.tune.integration.kubernetes.try_import_kubernetes",
        ),
        "Slurm's nodes share a filesystem; containers are SlurmOptions(container=...).",
    ),
    "ray.tune.resources": "Ask with resources_per_trial, a dict, or tune.PlacementGroupFactory.",
    "ray.tune.cli.scripts": "The command line is hpctune list, hpctune note, hpctune status and hpctune best.",
    **{
        name: reason
        for module in ("ray.tune.cli.commands.", "ray.tune.commands.")
        for name, reason in _each(
            module,
            "DEFAULT_CLI_KEYS DEFAULT_PROJECT_INFO_KEYS EDITOR OPERATORS TIMESTAMP_FORMAT print_format_output",
            "It is internal: hpctune list --columns chooses columns.",
        ).items()
    },
    "ray.tune.automlboard": "hpctune serve shows experiments in the browser.",
    "ray.tune.scripts": "The command line is hpctune list, hpctune note, hpctune status and hpctune best.",
    "ray.tune.make_checkpoint_dir": "Use tune.checkpoint_dir(step).",
    "ray.tune.integration.mlflow.MLflowTrainableMixin": "Use mlflow_mixin, or setup_mlflow() in setup().",
    **_each(
        "ray.tune.integration.tensorflow.",
        "get_num_workers setup_address setup_process_group",
        "TF_CONFIG is set before the function of DistributedTrainableCreator begins.",
    ),
    **_each(
        "ray.tune.integration.torch.",
        "enable_distributed_trainable logger_creator",
        "The process group is made before the function of DistributedTrainableCreator begins.",
    ),
    **_each(
        "ray.tune.sync_client.",
        "ALLOWED_REMOTE_PREFIXES CommandBasedClient FunctionBasedClient GS_PREFIX NOOP RemoteTaskClient S3_PREFIX "
        "SyncClient get_cloud_sync_client get_sync_client noop",
        _COPIES,
    ),
    **_each(
        "ray.tune.syncer.",
        "CLOUD_CHECKPOINTING_URL CLOUD_SYNC_PERIOD CloudSyncer NODE_SYNC_PERIOD NodeSyncer SYNC_PERIOD SyncerCallback "
        "detect_cluster_syncer get_cloud_syncer get_node_syncer get_rsync_template_if_available log_sync_template "
        "set_sync_periods validate_sync_config validate_upload_dir wait_for_sync",
        _COPIES,
    ),
    **_each(
        "ray.tune.",
        "checkpoint_manager cloud cluster_info config_parser insufficient_resources_manager trial_executor "
        "analysis.experiment_analysis.DEFAULT_FILE_TYPE callback.CallbackMeta error.AbortTrialExecution "
        "error.SubCategoryTuneError error.TuneGetNextExecutorEventError error.TuneStartTrialError "
        "error.TuneStopTrialError function_runner.ERROR_FETCH_TIMEOUT function_runner.ERROR_REPORT_TIMEOUT "
        "function_runner.FuncCheckpointUtil function_runner.FunctionRunner function_runner.NULL_MARKER "
        "function_runner.RESULT_FETCH_TIMEOUT function_runner.TEMP_MARKER "
        "function_runner.detect_checkpoint_function integration.wandb.WANDB_ENV_VAR logger.VALID_SUMMARY_TYPES "
        "progress_reporter.best_trial_str progress_reporter.detect_reporter progress_reporter.memory_debug_str "
        "progress_reporter.time_passed_str progress_reporter.trial_errors_str progress_reporter.trial_progress_str "
        "progress_reporter.trial_progress_table registry.check_serializability registry.has_trainable "
        "schedulers.pb2.explore schedulers.pb2.select_config schedulers.pbt.PBTTrialState "
        "schedulers.pbt.fill_config schedulers.pbt.make_experiment_tag suggest.basic_variant.SERIALIZATION_THRESHOLD "
        "suggest.hebo.SPACE_ERROR_MESSAGE suggest.optuna.DEFINE_BY_RUN_WARN_THRESHOLD_S "
        "suggest.util.set_search_properties_backwards_compatible suggest.variant_generator.count_spec_samples "
        "suggest.variant_generator.count_variants suggest.variant_generator.flatten_resolved_vars "
        "suggest.variant_generator.get_preset_variants suggest.variant_generator.resolve_nested_dict track.get_session "
        "track.session trainable.DistributedTrainable trainable.SETUP_TIME_THRESHOLD trainable.TrainableUtil "
        "trial.CheckpointDeleter trial.DEBUG_PRINT_INTERVAL trial.Location trial.MAX_LEN_IDENTIFIER trial.TrialInfo "
        "trial.checkpoint_deleter trial.create_logdir trial.date_str utils.detect_checkpoint_function "
        "utils.detect_config_single utils.detect_reporter utils.callback.create_default_callbacks "
        "utils.placement_groups.PlacementGroupManager utils.placement_groups.TUNE_PLACEMENT_GROUP_REMOVAL_DELAY "
        "utils.placement_groups.get_tune_pg_prefix utils.trainable.PlacementGroupUtil utils.trainable.TrainableUtil "
        "utils.util.PINNED_OBJECT_PREFIX utils.util.atomic_save utils.util.create_logdir "
        "utils.util.delete_external_checkpoint utils.util.detect_checkpoint_function utils.util.detect_config_single "
        "utils.util.detect_reporter utils.util.get_checkpoint_from_remote_node utils.util.load_newest_checkpoint "
        "utils.visual_utils web_server.RunnerHandler",
        _INTERNAL,
    ),
    **_each(
        "ray.",
        "PYTHON_MODE actors connect disconnect errors get_resource_ids get_webui_url jobs object_transfer_timeline "
        "objects profile projects show_in_dashboard show_in_webui util.placement_group.BUNDLE_RESOURCE_LABEL "
        "util.placement_group.configure_placement_group_based_on_context",
        _INTERNAL,
    ),
    **_each(
        "ray.tune.integration.horovod.",
        "distributed_checkpoint_dir get_rank logger_creator",
        "Of DistributedTrainableCreator of 1.x there are those for torch and TensorFlow.",
    ),
    **_each("ray.", "get_dashboard_url workers tune.integration.mxnet.TuneCallback", _INTERNAL),
    "ray.tune.utils.util.unflatten_list_dict": "Use unflatten_dict.",
    "ray.tune.sync_client.HDFS_PREFIX": _COPIES,
    "ray.tune.syncer.detect_sync_to_driver": _COPIES,
    "ray.register_custom_serializer": _OBJECTS,
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
    "ray.services": _INTERNAL,
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
        "UserCodeException ObjectReconstructionFailedLineageEvictedError "
        "ObjectReconstructionFailedMaxAttemptsExceededError RayCancellationError RayConnectionError RayTimeoutError "
        "RayWorkerError RayletError UnreconstructableError",
        "Nothing here raises it.",
    ),
    **_each(
        "ray.train.",
        "CheckpointConsistencyMode CheckpointUploadMode ControllerError DataConfig LoggingConfig "
        "CheckpointStrategy Trainer TrainingCallback TrainingIterator load_checkpoint local_rank save_checkpoint "
        "world_rank world_size "
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
