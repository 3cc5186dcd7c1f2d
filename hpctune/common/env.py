"""The environment variables that control the driver, under hpctune's own name and under Ray Tune's.

========================================  ==================================  ==========================================
own name                                  Ray Tune's name                     meaning
========================================  ==================================  ==========================================
HPCTUNE_RESULT_DIR                        TUNE_RESULT_DIR, RAY_AIR_LOCAL_...  default directory of experiments
HPCTUNE_MAX_PENDING_TRIALS                TUNE_MAX_PENDING_TRIALS_PG          how many jobs may wait in the queue
HPCTUNE_DISABLE_AUTO_CALLBACK_LOGGERS     TUNE_DISABLE_AUTO_CALLBACK_LOGGERS  "1": only the loggers that were asked for
HPCTUNE_DISABLE_STRICT_METRIC_CHECKING    TUNE_DISABLE_STRICT_METRIC_...      "1": a metric may be missing from results
HPCTUNE_DISABLE_DATED_SUBDIR              TUNE_DISABLE_DATED_SUBDIR           "1": no date in automatic names
HPCTUNE_DISABLE_SIGINT_HANDLER            TUNE_DISABLE_SIGINT_HANDLER         "1": the caller handles signals
HPCTUNE_FORCE_TRIAL_CLEANUP_S             TUNE_FORCE_TRIAL_CLEANUP_S          seconds a trial has to follow a stop (30)
HPCTUNE_WARN_THRESHOLD_S                  TUNE_WARN_THRESHOLD_S               seconds above which warn_if_slow warns
HPCTUNE_CLUSTER_SSH_KEY                   TUNE_CLUSTER_SSH_KEY                private key for ssh, sftp:// and rsync
HPCTUNE_CALLBACKS                         TUNE_CALLBACKS, RAY_TUNE_...       classes of callbacks: "my.module.Class"
HPCTUNE_STORAGE_PATIENCE_S                                                    seconds a trial waits for its files (600)
========================================  ==================================  ==========================================

If both are set, hpctune's own name wins. Other ``TUNE_*`` variables of Ray Tune concern parts that hpctune does not
have (object store, syncers, placement groups); :func:`without_effect` returns those that are set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hpctune.errors import UsageError

DEFAULT_RESULT_DIR = "~/hpctune_results"
DEFAULT_WARN_THRESHOLD_S = 0.5
_THEIRS = {"MAX_PENDING_TRIALS": "TUNE_MAX_PENDING_TRIALS_PG"}
_NAMES = (
    "RESULT_DIR",
    "MAX_PENDING_TRIALS",
    "DISABLE_AUTO_CALLBACK_LOGGERS",
    "DISABLE_STRICT_METRIC_CHECKING",
    "DISABLE_DATED_SUBDIR",
    "DISABLE_SIGINT_HANDLER",
    "FORCE_TRIAL_CLEANUP_S",
    "WARN_THRESHOLD_S",
    "CLUSTER_SSH_KEY",
)
THEIR_NAMES = tuple(_THEIRS.get(name, f"TUNE_{name}") for name in _NAMES)
"""Those variables of Ray Tune that have an effect."""
RAY_CACHE = "RAY_AIR_LOCAL_CACHE_DIR"
"""Ray 2's name of TUNE_RESULT_DIR, which it still reads first."""
CHDIR = "HPCTUNE_CHDIR_TO_TRIAL_DIR"
_FOR_WORKERS = (
    "HPCTUNE_DEBUG",
    "HPCTUNE_STORAGE_PATIENCE_S",
    CHDIR,
    RAY_CACHE,
    "RAY_CHDIR_TO_TRIAL_DIR",
    *(f"HPCTUNE_{name}" for name in _NAMES if name != "CLUSTER_SSH_KEY"),
)


@dataclass(frozen=True, slots=True)
class EnvSettings:
    """The values of the variables. None: not set.

    ``for_workers``: the variables of the driver's environment that its jobs get. ``without_effect``: the names of set
    variables that Ray Tune knows and hpctune does not.
    """

    result_dir: Path
    max_pending: int | None = None
    auto_loggers: bool = True
    strict_metric: bool = True
    dated_names: bool = True
    signals: bool = True
    stop_grace_s: float | None = None
    warn_threshold_s: float = DEFAULT_WARN_THRESHOLD_S
    callbacks: tuple[str, ...] = ()
    for_workers: Mapping[str, str] = field(default_factory=dict)
    without_effect: tuple[str, ...] = ()


def settings(environ: Mapping[str, str] | None = None) -> EnvSettings:
    """Read the variables. Raises UsageError, which names the variable, for an invalid value."""
    env = os.environ if environ is None else environ
    pending = _number(env, "MAX_PENDING_TRIALS")
    if pending is not None and pending < 1:
        raise UsageError(f"{_set_name(env, 'MAX_PENDING_TRIALS')} must be 1 or more, not {pending:g}.")
    grace = _number(env, "FORCE_TRIAL_CLEANUP_S")
    warn = _number(env, "WARN_THRESHOLD_S")
    return EnvSettings(
        result_dir=_result_dir(env),
        max_pending=None if pending is None else int(pending),
        auto_loggers=not _flag(env, "DISABLE_AUTO_CALLBACK_LOGGERS"),
        strict_metric=not _flag(env, "DISABLE_STRICT_METRIC_CHECKING"),
        dated_names=not _flag(env, "DISABLE_DATED_SUBDIR"),
        signals=not _flag(env, "DISABLE_SIGINT_HANDLER"),
        stop_grace_s=grace or None,
        warn_threshold_s=DEFAULT_WARN_THRESHOLD_S if warn is None else warn,
        callbacks=tuple(_listed(env, "HPCTUNE_CALLBACKS", "TUNE_CALLBACKS", "RAY_TUNE_CALLBACKS")),
        for_workers=for_workers(env),
        without_effect=tuple(without_effect(env)),
    )


def _result_dir(env: Mapping[str, str]) -> Path:
    """The default directory. Raises UsageError if it is a URL."""
    names = (_set_name(env, "RESULT_DIR"), RAY_CACHE)
    name, text = next(((name, env[name]) for name in names if env.get(name)), ("", DEFAULT_RESULT_DIR))
    text = text.removeprefix("file://")
    if "://" in text:
        raise UsageError(
            f"{name} must be a directory that all nodes see, not a URL. A copy elsewhere: storage_path=, or "
            "--storage-path."
        )
    return Path(text).expanduser()


def cluster_ssh_key(environ: Mapping[str, str] | None = None) -> Path | None:
    """The private key that is tried first on every server; None: none is named. Raises UsageError if it is missing."""
    env = os.environ if environ is None else environ
    text = _value(env, "CLUSTER_SSH_KEY")
    path = Path(text).expanduser() if text else None
    if path is not None and not path.is_file():
        raise UsageError(
            f"{_set_name(env, 'CLUSTER_SSH_KEY')}: there is no file {path}. Name a private key, or unset the variable."
        )
    return path


def without_effect(environ: Mapping[str, str] | None = None) -> list[str]:
    """The ``TUNE_*`` variables that are set and have no effect in hpctune."""
    env = os.environ if environ is None else environ
    return sorted(name for name in env if name.startswith("TUNE_") and name not in {*THEIR_NAMES, "TUNE_CALLBACKS"})


def for_workers(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The part of the driver's environment that its jobs get: the variables above, HPCTUNE_DEBUG, and whether to change
    to the trial's directory. Other variables may be secrets, or may belong to an enclosing trial."""
    env = os.environ if environ is None else environ
    return {name: env[name] for name in _FOR_WORKERS if name in env}


def _set_name(env: Mapping[str, str], name: str) -> str:
    own = f"HPCTUNE_{name}"
    return own if env.get(own, "") != "" else _THEIRS.get(name, f"TUNE_{name}")


def _value(env: Mapping[str, str], name: str) -> str:
    return env.get(_set_name(env, name), "")


def _listed(env: Mapping[str, str], *names: str) -> list[str]:
    """The words of the first variable that is set, which commas separate."""
    text = next((env[name] for name in names if env.get(name)), "")
    return [word.strip() for word in text.split(",") if word.strip()]


def _flag(env: Mapping[str, str], name: str) -> bool:
    text = _value(env, name).lower()
    if text in ("", "0", "false", "no"):
        return False
    if text in ("1", "true", "yes"):
        return True
    raise UsageError(f"{_set_name(env, name)} must be 1 or 0, not {text!r}.")


def _number(env: Mapping[str, str], name: str) -> float | None:
    text = _value(env, name)
    if text in ("", "auto"):
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(f"{_set_name(env, name)} must be a number of 0 or more, not {text!r}.")
    return number
