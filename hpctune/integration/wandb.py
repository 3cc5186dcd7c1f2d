"""Weights & Biases: a logger callback, which runs in the driver, and helpers for the trial."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.integration.mixins import around
from hpctune.integration.packages import require
from hpctune.integration.tracker import TrackerCallback, TrackerOfConfig
from hpctune.integration.wandb_files import files_of, next_step
from hpctune.model.rows import flatten
from hpctune.storage import values
from hpctune.trial import Trial
from hpctune.worker import get_context, get_trial_dir, get_trial_id, get_trial_name
from hpctune.worker.trial_end import at_trial_end

API_KEY, MODE, SERVICE = "WANDB_API_KEY", "WANDB_MODE", "WANDB_SERVICE"
PROJECT, GROUP = "WANDB_PROJECT_NAME", "WANDB_GROUP_NAME"
_SYNC_S = 300.0
_INFO = frozenset({"trial_id", "experiment_tag", "node_ip", "hostname", "pid", "date"})
"""Fields of a result that say where it was made: they go to the run's configuration if ``log_config`` asks for it."""
_NEVER = frozenset({"done", "should_checkpoint", "config"})


class WandbLoggerCallback(TrackerCallback):
    """One W&B run for each trial, in the group of the experiment. Only the driver's node talks to W&B.

    Args:
        project: The project; else ``WANDB_PROJECT_NAME``, or W&B's own default.
        group: The group; else ``WANDB_GROUP_NAME``, or the experiment's name.
        api_key_file: A file with the API key.
        api_key: The API key. It stays in the driver's memory: a driver that takes over needs ``WANDB_API_KEY``, W&B's
            login or ``api_key_file``.
        excludes: Keys of results that are not logged.
        log_config: Log the configuration in every row as well.
        upload_checkpoints: Store each checkpoint as an artifact of the run.
        save_checkpoints: The older name of ``upload_checkpoints``.
        upload_timeout: Seconds that a driver waits at most for ``wandb sync`` of what was kept on disk.
        kwargs: Passed to ``wandb.init``. ``mode`` wins over ``WANDB_MODE``. Without both, runs are online if there is
            an API key, else they are kept in the trial's directory for ``wandb sync``.

    Raises:
        MissingPackageError: without the package wandb.
        UsageError: if the API key is given twice, or its file cannot be read.
    """

    service = "W&B"

    def __init__(
        self,
        project: str | None = None,
        group: str | None = None,
        api_key_file: str | None = None,
        api_key: str | None = None,
        excludes: list[str] | None = None,
        log_config: bool = False,
        upload_checkpoints: bool = False,
        save_checkpoints: bool = False,
        upload_timeout: float = 1800,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        _package("WandbLoggerCallback")
        self.project, self.group = project or os.environ.get(PROJECT), group or os.environ.get(GROUP)
        self.api_key_file = api_key_file
        self._api_key = _read_key(api_key, api_key_file)
        self.excludes, self.log_config = frozenset(excludes or ()), log_config
        self.upload_checkpoints = upload_checkpoints or save_checkpoints
        self.upload_timeout, self.kwargs = upload_timeout, kwargs
        self._runs: dict[str, Any] = {}
        self._to_sync: list[Path] = []
        """Directories of runs that should be online, and of which W&B may lack something."""
        self._offline = False
        """W&B could not be reached: new runs are kept on disk."""

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_api_key": None, "_runs": {}, "_to_sync": [], "_offline": False}

    def _wants_checkpoints(self) -> bool:
        return self.upload_checkpoints

    def _directory(self, trial: Trial) -> Path:
        """Where W&B keeps the files of a trial's run."""
        return Path(trial.local_path)

    def _open(self, trial: Trial, name: str) -> int:
        self._finish(name)
        return next_step(self._directory(trial), name)

    def _run(self, trial: Trial, name: str) -> Any:
        run = self._runs.get(name)
        if run is None:
            key = self._api_key or _read_key(None, self.api_key_file)
            mode = _mode(self.kwargs.get("mode"), key)
            if mode == "online":
                self._to_sync += [p.parent for p in files_of(self._directory(trial), name) if not _synced(p)]
            asked = {"project": self.project, "group": self.group or trial.experiment_dir_name, "name": str(trial)}
            asked |= {k: v for k, v in self.kwargs.items() if k not in ("mode", "settings")}
            asked |= {"id": name, "resume": "allow", "dir": str(self._directory(trial))}
            run = self._runs[name] = self._init(mode, key, asked)
            if self._offline and mode == "online":
                self._to_sync.append(Path(run.settings.sync_dir))
        return run

    def _init(self, mode: str, key: str | None, asked: dict[str, Any]) -> Any:
        wandb = _package("WandbLoggerCallback")
        given = dict(self.kwargs.get("settings") or {})
        if mode == "online" and not self._offline:
            try:
                settings = _settings(wandb, {"init_timeout": 30.0, **given}, key)
                _connect(settings.base_url)
                return wandb.init(mode=mode, settings=settings, reinit="create_new", **asked)
            except Exception as error:
                self._offline = True
                if not isinstance(error, OSError):
                    wandb.teardown()  # it holds the run's id; runs that were open go on in new files
                    self._runs.clear()
                log.warning(
                    f"hpctune: W&B cannot be reached: {type(error).__name__}: {_without(key, str(error))}. Runs are "
                    "kept in the trials' directories, and uploaded when the driver leaves, if W&B can be reached then."
                )
        kept = "offline" if mode == "online" else mode
        return wandb.init(mode=kept, settings=_settings(wandb, given, None), reinit="create_new", **asked)

    def _config(self, trial: Trial, name: str, config: Mapping[str, Any]) -> None:
        self._run(trial, name).config.update(values.plain(config), allow_val_change=True)

    def _log(self, trial: Trial, name: str, number: int, row: Mapping[str, Any]) -> None:
        left_out = self.excludes | _INFO | _NEVER
        flat = flatten({k: v for k, v in row.items() if k not in left_out})
        if self.log_config:
            flat |= flatten({"config": trial.value.shown_config})
        numbers = {k: values.plain(v) for k, v in flat.items() if k not in self.excludes and _is_loggable(v)}
        self._run(trial, name).log(numbers, step=number - 1)

    def _checkpoint(self, trial: Trial, name: str, path: str) -> None:
        wandb = _package("WandbLoggerCallback")
        artifact = wandb.Artifact(name=f"checkpoint_{name}", type="model")
        artifact.add_dir(path)
        self._run(trial, name).log_artifact(artifact, aliases=["latest"])

    def _end(self, trial: Trial, name: str, failed: bool) -> None:
        if name in self._runs:
            self._finish(name, exit_code=1 if failed else 0)

    def _finish(self, name: str, **arguments: Any) -> None:
        run = self._runs.pop(name, None)
        if run is not None:
            run.finish(**arguments)

    def _close(self) -> None:
        for name in list(self._runs):
            self._finish(name)
        for directory in dict.fromkeys(self._to_sync):
            self._sync(directory)

    def _sync(self, directory: Path) -> None:
        key = self._api_key or _read_key(None, self.api_key_file)
        env = {**os.environ, **({API_KEY: key} if key else {})}
        command = [sys.executable, "-m", "wandb", "sync", "--include-online", str(directory)]
        try:
            subprocess.run(
                command, env=env, capture_output=True, check=True, stdin=subprocess.DEVNULL,
                timeout=min(self.upload_timeout, _SYNC_S),
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            log.warning(f"hpctune: W&B could not be reached. Upload later: wandb sync --include-online {directory}")


class WandbLogger(TrackerOfConfig, WandbLoggerCallback):
    """Of Ray Tune before 1.4, for ``loggers=[WandbLogger]``: ``config["wandb"]`` has the arguments of
    WandbLoggerCallback."""

    settings = ("wandb", "logger_config")

    def _made(self, config: Mapping[str, Any]) -> TrackerCallback:
        return WandbLoggerCallback(**_settings_in({**config, **(config.get("logger_config") or {})}, "WandbLogger"))


def setup_wandb(
    config: Mapping[str, Any] | None = None,
    api_key: str | None = None,
    api_key_file: str | None = None,
    rank_zero_only: bool = True,
    **kwargs: Any,
) -> Any:
    """Start the W&B run of this trial and return it. ``kwargs`` go to ``wandb.init``.

    A trial that goes on after an interruption goes on in the same run, with the next step. The run ends with the
    function, or with the ``cleanup`` of a class. Files lie in the trial's directory. With ``rank_zero_only``, other
    tasks of the job get a run that does nothing. Outside a trial a new run starts.

    Raises:
        MissingPackageError: without the package wandb.
        UsageError: if the API key is given twice, or its file cannot be read.
    """
    wandb = _package("setup_wandb")
    key = _read_key(api_key, api_key_file)
    if rank_zero_only and get_context().get_world_rank() != 0:
        return wandb.init(mode="disabled")
    asked: dict[str, Any] = {"config": values.plain(dict(config or {})), "project": os.environ.get(PROJECT)}
    asked["reinit"] = "finish_previous"  # the process may have had another trial
    trial_id, directory, begin = get_trial_id(), get_trial_dir(), 0
    if trial_id is not None and directory is not None:
        asked |= {"id": trial_id, "name": get_trial_name(), "resume": "allow", "dir": directory}
        asked |= {"group": os.environ.get(GROUP) or get_context().get_experiment_name()}
    asked |= kwargs
    mode = _mode(asked.pop("mode", None), key)
    settings = _settings(wandb, dict(asked.pop("settings", None) or {}), key if mode == "online" else None)
    if directory is not None and asked.get("id"):
        begin = next_step(Path(asked["dir"]), asked["id"])
    run = wandb.init(mode=mode, settings=settings, **asked)
    if trial_id is not None:
        at_trial_end(lambda failed: run.finish(exit_code=int(failed)))
    if begin:
        run.log({}, step=begin, commit=False)  # the steps before are in the files of earlier attempts
    return run


def wandb_mixin(func: Callable[..., Any]) -> Any:
    """Of Ray Tune before 2.0: start the run of a trial with ``config["wandb"]``: arguments of :func:`setup_wandb`."""
    _package("wandb_mixin")
    return around(func, _begin, lambda run: run.finish(), "wandb")


def _begin(config: Mapping[str, Any]) -> Any:
    return setup_wandb({k: v for k, v in config.items() if k != "wandb"}, **_settings_in(config, "wandb_mixin"))


def _settings_in(config: Mapping[str, Any], user: str) -> dict[str, Any]:
    """The settings of W&B in a configuration. Raises UsageError if it has none, or the API key."""
    if not config.get("wandb"):
        raise UsageError(f'{user} needs config["wandb"], such as {{"project": "my-project"}}.')
    given = dict(config["wandb"])
    if given.get("api_key"):
        raise UsageError(
            'config["wandb"]["api_key"] would be stored with the results. Use "api_key_file", or set WANDB_API_KEY.'
        )
    return given


class WandbTrainableMixin:
    """Of Ray Tune before 2.0, for ``class Mine(WandbTrainableMixin, Trainable)``: as :func:`wandb_mixin`."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if WandbTrainableMixin in cls.__bases__:
            wandb_mixin(cls)


def _package(user: str) -> Any:
    if "wandb" not in sys.modules:  # what is there is the service of another process, which may be gone or elsewhere
        os.environ.pop(SERVICE, None)
    return require("wandb", "wandb", user)


def _read_key(api_key: str | None, api_key_file: str | None) -> str | None:
    if api_key and api_key_file:
        raise UsageError("Give api_key or api_key_file, not both.")
    if api_key_file:
        try:
            return Path(api_key_file).expanduser().read_text().strip()
        except OSError as error:
            raise UsageError(f"Cannot read api_key_file {api_key_file}: {error.strerror}.") from error
    return api_key


def _mode(asked: str | None, key: str | None) -> str:
    """The mode that is asked for; else online if there is a key, and offline if there is none."""
    asked = asked or os.environ.get(MODE)
    if asked:
        return asked
    return "online" if key or os.environ.get(API_KEY) or _has_login() else "offline"


def _has_login() -> bool:
    import netrc

    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts)


def _settings(wandb: Any, given: dict[str, Any], key: str | None) -> Any:
    quiet = {"console": "off", "silent": True, "x_disable_stats": True, "disable_git": True, "save_code": False}
    return wandb.Settings(**{**quiet, **given, **({"api_key": key} if key else {})})


def _connect(url: str) -> None:
    """Raise OSError if W&B's server cannot be reached: ``wandb.init`` would wait long, and keep the run's id."""
    if any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")):
        return
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or (443 if place.scheme == "https" else 80)), 10.0):
        pass


def _without(key: str | None, text: str) -> str:
    return text.replace(key, "***") if key else text


def _synced(path: Path) -> bool:
    return Path(f"{path}.synced").exists()


def _is_loggable(value: Any) -> bool:
    return value is not None and (isinstance(value, (bool, int, float, str)) or hasattr(value, "dtype"))
