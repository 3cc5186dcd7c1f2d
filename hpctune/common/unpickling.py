"""Loads pickles of earlier versions: old names of modules, classes and functions are mapped to the present ones.

Experiments live longer than versions, and their pickles contain the names of the version that made them.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, BinaryIO

_MODULES = {
    "arguments": "launch.arguments",
    "cluster.accounts": "cluster.slurm.sacct",
    "cluster.amounts": "cluster.slurm.units",
    "cluster.arrays": "cluster.slurm.arrays",
    "cluster.batches": "cluster.slurm.batching",
    "cluster.budget": "cluster.slurm.call_budget",
    "cluster.choose": "cluster.choice",
    "cluster.commands": "cluster.slurm.commands",
    "cluster.driverjob": "cluster.slurm.driver_job",
    "cluster.local": "cluster.local.cluster",
    "cluster.local_process": "cluster.local.process",
    "cluster.local_records": "cluster.local.records",
    "cluster.machine": "cluster.local.machine",
    "cluster.partitions": "cluster.slurm.sinfo",
    "cluster.placement": "cluster.slurm.placement",
    "cluster.pool": "cluster.pool.cluster",
    "cluster.pool_options": "cluster.pool.options",
    "cluster.pool_outlook": "cluster.pool.forecast",
    "cluster.pool_plan": "cluster.pool.sizing",
    "cluster.pool_staff": "cluster.pool.workers",
    "cluster.pool_worker": "cluster.pool.worker",
    "cluster.refusals": "cluster.slurm.sbatch_errors",
    "cluster.script": "cluster.slurm.script",
    "cluster.slots": "cluster.local.allocation",
    "cluster.slurm": "cluster.slurm.cluster",
    "cluster.squeue": "cluster.slurm.squeue",
    "cluster.submission": "cluster.slurm.sbatch",
    "cluster.waits": "cluster.queue_waits",
    "core.care": "core.failure_policy",
    "driver.glance": "driver.status_file",
    "driver.lastwords": "driver.job_stderr",
    "driver.onlookers": "driver.status",
    "driver.settled_memory": "driver.gc_tuning",
    "driver.waiting": "driver.queue_waits",
    "driver.wants": "driver.demand",
    "driverchain": "launch.driver_chain",
    "driving": "launch.drive",
    "ending": "launch.outcome",
    "envvars": "common.env",
    "experiment": "launch.definition",
    "launch": "launch.store",
    "model.care": "model.failure_policy",
    "notice": "common.log",
    "output.appendfiles": "output.loggers.append_files",
    "output.blocks": "output.display.layout",
    "output.columns": "output.display.columns",
    "output.csv_logger": "output.loggers.csv",
    "output.display": "output.display.display",
    "output.errorfile": "output.loggers.error_file",
    "output.hparams": "output.loggers.hparams",
    "output.json_logger": "output.loggers.json",
    "output.metric_stats": "model.metric_stats",
    "output.pbt_log": "output.loggers.pbt_log",
    "output.pretty": "output.display.pretty",
    "output.reasons": "output.display.slurm_reasons",
    "output.reporters": "output.display.reporters",
    "output.results": "output.display.results",
    "output.rich_progress": "output.display.live",
    "output.selection": "output.display.selection",
    "output.shapes": "output.loggers.row_shapes",
    "output.table": "output.display.status",
    "output.tbx_logger": "output.loggers.tensorboard",
    "output.tfrecord": "output.loggers.tfrecord",
    "output.throttle": "common.throttle",
    "output.display.throttle": "common.throttle",
    "output.words": "output.display.words",
    "overrides": "launch.overrides",
    "preview": "launch.preflight",
    "readable": "common.poll",
    "registry": "launch.trainables",
    "repair.bundlecheck": "repair.checks.bundle",
    "repair.jobcheck": "repair.checks.job",
    "repair.journalcheck": "repair.checks.journal",
    "repair.owncheck": "repair.checks.own",
    "repair.rootcheck": "repair.checks.root",
    "repair.trialcheck": "repair.checks.trial",
    "repair.workercheck": "repair.checks.worker",
    "request": "launch.run",
    "resuming": "launch.resume",
    "search.axes": "search.adapters.axes",
    "search.gp_model": "search.models.gp",
    "search.isolation": "search.adapters.isolation",
    "search.kde": "search.models.kde",
    "search.library": "search.adapters.library",
    "search.model_axes": "search.models.axes",
    "search.model_search": "search.models.base",
    "search.objective": "search.adapters.objective",
    "search.packages": "common.packages",
    "search.parameters": "search.adapters.parameters",
    "search.points": "search.adapters.points",
    "search.tpe_model": "search.models.tpe",
    "search.unit": "search.adapters.unit",
    "settings": "launch.resolve",
    "site.nodechecks": "site.node.checks",
    "site.nodefacts": "site.node.facts",
    "site.nodejob": "site.node.job",
    "site.nodeprogram": "site.node.program",
    "site.pingpong": "site.storage.pingpong",
    "site.slurmchecks": "site.slurm.checks",
    "site.slurmfacts": "site.slurm.facts",
    "site.storagechecks": "site.storage.checks",
    "site.storagefacts": "site.storage.facts",
    "storage.access": "storage.permissions",
    "storage.controlfile": "storage.control_file",
    "storage.culprit": "storage.unpicklable",
    "storage.driverjobs": "storage.driver_jobs",
    "storage.lastline": "storage.last_line",
    "storage.poolfiles": "storage.worker_files",
    "storage.room": "storage.free_space",
    "storage.runfile": "storage.run_file",
    "storage.specfile": "storage.spec_file",
    "where": "cluster.choice",
    "worker.endings": "worker.end_of_run",
    "worker.patience": "worker.storage_retry",
    "worker.pool": "worker.pool.main",
    "worker.pool_actor": "worker.pool.actor",
    "worker.pool_children": "worker.pool.process",
    "worker.pool_crew": "worker.pool.slots",
    "worker.pool_random": "worker.pool.random_state",
    "worker.pool_slots": "worker.pool.resources",
    "worker.private": "worker.scratch",
    "worker.rehearsal": "worker.pool.warmup",
    "worker.reuse": "worker.actor_reuse",
    "worker.stepping": "worker.trainable",
    "worker.surroundings": "worker.environment",
}
"""Modules of 0.1.0 below ``hpctune``, with the modules that contain their names now."""
_NAMES: dict[tuple[str, str], tuple[str, str | None]] = {
    ("model.care", "FailureCare"): ("model.failure_policy", "FailurePolicy"),
    ("model.trial", "Leave"): ("model.trial", "VacateReason"),
    ("output.shapes", "Known"): ("output.loggers.row_shapes", "ShapeCache"),
    ("search.gp_model", "Process"): ("search.models.gp", "GaussianProcess"),
    ("search.tpe_model", "Settings"): ("search.models.tpe", "TPEParameters"),
    ("search.tpe_model", "_Bell"): ("search.models.tpe", "TruncatedNormalKernel"),
    ("search.tpe_model", "_Table"): ("search.models.tpe", "CategoricalKernel"),
    ("overrides", "replace_values"): ("space.replace", None),
    ("storage.bundle", "Parameter"): ("storage.objects", None),
    ("storage.bundle", "_Stored"): ("storage.objects", None),
    ("settings", "SearchBinding"): ("driver.setup", None),
    ("trial", "Habit"): ("trial", "StatsTracking"),
}
"""Classes and functions of 0.1.0 that have another name, or are in another module than the rest of their old one."""

RENAMED: Mapping[tuple[str, str | None], tuple[str, str | None]] = {
    **{(f"hpctune.{old}", None): (f"hpctune.{new}", None) for old, new in _MODULES.items()},
    **{(f"hpctune.{old}", name): (f"hpctune.{new}", now) for (old, name), (new, now) in _NAMES.items()},
}
"""Maps an old (module, name) to the present one, in one step. In a key, the name None stands for all other names of the
module; in a value, for an unchanged name. An entry is never removed."""

_SUBIMPORT = ("cloudpickle.cloudpickle", "subimport")
"""The function that cloudpickle stores for a module, such as one that a user's function refers to."""


def loads(body: bytes) -> Any:
    """The same as ``pickle.loads``, for pickles of any version of hpctune."""
    return load(io.BytesIO(body))


def load(file: BinaryIO | io.BytesIO) -> Any:
    """The same as ``pickle.load``, for pickles of any version of hpctune."""
    return Unpickler(file).load()


class Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _SUBIMPORT:
            return _import
        return super().find_class(*_today(module, name))


def _today(module: str, name: str) -> tuple[str, str]:
    """The present place of ``name`` of ``module``. A name inside a class moves with the class."""
    outer, dot, inner = name.partition(".")
    new_module, new_name = RENAMED.get((module, outer)) or RENAMED.get((module, None)) or (module, None)
    return new_module, f"{new_name or outer}{dot}{inner}"


def _import(module: str) -> ModuleType:
    return import_module(RENAMED.get((module, None), (module, None))[0])
