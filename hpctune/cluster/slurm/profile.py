"""The sbatch defaults that users set in their shell's profile (``SBATCH_*``), as options. Pure.

Slurm never sets these variables in a job, so they are the user's own. sbatch itself does not see them: there they would
override the lines of a script, and with them what a trial asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hpctune.cluster.options import MEMORY, SlurmOptions
from hpctune.errors import UsageError

_PREFIX = "SBATCH_"
_OPTIONS = {
    "ACCOUNT": "account",
    "CLUSTERS": "clusters",
    "CONSTRAINT": "constraint",
    "EXCLUSIVE": "exclusive",
    "MEM_PER_CPU": "mem_per_cpu",
    "MEM_PER_NODE": "mem",
    "PARTITION": "partition",
    "QOS": "qos",
    "RESERVATION": "reservation",
    "TIMELIMIT": "time",
    "WCKEY": "wckey",
}
_PARAMETERS = {
    "ACCTG_FREQ": "acctg-freq",
    "CORE_SPEC": "core-spec",
    "DELAY_BOOT": "delay-boot",
    "DISTRIBUTION": "distribution",
    "GPU_BIND": "gpu-bind",
    "GPU_FREQ": "gpu-freq",
    "GRES_FLAGS": "gres-flags",
    "HINT": "hint",
    "MEM_BIND": "mem-bind",
    "NETWORK": "network",
    "POWER": "power",
    "PROFILE": "profile",
    "REQ_SWITCH": "switches",
    "THREAD_SPEC": "thread-spec",
    "THREADS_PER_CORE": "threads-per-core",
}
_SIZES = ("CPUS_PER_GPU", "GPUS", "GPUS_PER_NODE", "GPUS_PER_TASK", "GRES", "MEM_PER_GPU", "OVERCOMMIT")
_DRIVER = ("ACCOUNT", "PARTITION", "QOS", "RESERVATION")


def in_use(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``environ`` that hold for trials."""
    known = {*_OPTIONS, *_PARAMETERS, "REQUEUE", "NO_REQUEUE"}
    return {n: v for n, v in environ.items() if n.startswith(_PREFIX) and n.removeprefix(_PREFIX) in known and v}


def without_effect(environ: Mapping[str, str]) -> list[str]:
    """The variables of ``environ`` that have no effect, because the trial or hpctune decides what they are about."""
    set_here = {n for n, v in environ.items() if n.startswith(_PREFIX) and v}
    return sorted(set_here - set(in_use(environ)) - {f"{_PREFIX}DEBUG"})


def about(names: list[str]) -> str:
    """A sentence that says that these variables have no effect, and what to use instead."""
    sizes = [n for n in names if n.removeprefix(_PREFIX) in _SIZES]
    advice = " What a trial gets is set by resources_per_trial or SlurmOptions(gres=..., ...)." if sizes else ""
    return f"No effect on the trials' jobs: {', '.join(names)}.{advice}"


def driver_defaults(environ: Mapping[str, str]) -> dict[str, str]:
    """sbatch's parameters for the driver's own job."""
    return {_OPTIONS[n]: value for n in _DRIVER if (value := environ.get(_PREFIX + n))}


def with_profile(options: SlurmOptions, environ: Mapping[str, str]) -> SlurmOptions:
    """``options``, with the user's defaults for those that are not given.

    Raises UsageError for a variable whose value is impossible.
    """
    parameters = dict(options.additional_parameters)
    for name, parameter in _PARAMETERS.items():
        if value := environ.get(_PREFIX + name):
            parameters.setdefault(parameter, value)
    made = replace(options, additional_parameters=parameters)
    for name, option in _OPTIONS.items():
        if value := environ.get(_PREFIX + name):
            made = _with(made, option, _value(option, value), _PREFIX + name)
    for name, requeue in (("REQUEUE", True), ("NO_REQUEUE", False)):
        if _PREFIX + name in environ:
            made = _with(made, "requeue", requeue, _PREFIX + name)
    return made


def _with(options: SlurmOptions, option: str, value: Any, variable: str) -> SlurmOptions:
    same = MEMORY if option in MEMORY else (option,)
    if any(getattr(options, name) is not None for name in same):
        return options
    try:
        return replace(options, **{option: value})
    except UsageError as error:
        raise UsageError(f"{variable} in your environment: {error} Or unset it.") from error


def _value(option: str, text: str) -> object:
    return True if option == "exclusive" and text.lower() in ("1", "yes", "true") else text
