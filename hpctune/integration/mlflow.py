"""MLflow: a logger callback, which runs in the driver, and helpers for the trial."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpctune.errors import UsageError
from hpctune.integration.mixins import around
from hpctune.integration.packages import require
from hpctune.integration.tracker import TrackerCallback, TrackerOfConfig, without_password
from hpctune.model.metric_stats import as_number
from hpctune.model.rows import flatten
from hpctune.trial import Trial
from hpctune.worker import get_context, get_trial_dir, get_trial_id, get_trial_name
from hpctune.worker.trial_end import at_trial_end

TRACKING_URI, EXPERIMENT_NAME, TOKEN = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_TOKEN"
RUN_TAG = "hpctune.trial"
"""The tag by which a later driver, or a later attempt of a trial, finds the trial's run."""
_LAST = "training_iteration"
"""The metric that is written last: how often it is there says how many rows are complete."""
_OLDER = ("tracking_uri", "registry_uri", "experiment_id")
_SQLITE = "sqlite:///"
_MAX_PARAM = 500
_MAX_METRICS = 500
"""In one call."""


class MLflowLoggerCallback(TrackerCallback):
    """One MLflow run for each trial. Only the driver's node talks to MLflow.

    Args:
        tracking_uri: Where MLflow keeps runs: ``sqlite:///file.db``, ``file:///directory`` or a server's address; else
            ``MLFLOW_TRACKING_URI`` or MLflow's default. A password in it stays in the driver's process: a driver that
            takes over needs ``MLFLOW_TRACKING_URI`` or ``MLFLOW_TRACKING_PASSWORD``.
        registry_uri: Where it keeps models.
        experiment_name: MLflow's experiment, made if there is none; else ``MLFLOW_EXPERIMENT_NAME``, or the name of
            the experiment here.
        tags: Tags of every run.
        tracking_token: The server's token. It stays in the driver's process: a driver that takes over needs
            ``MLFLOW_TRACKING_TOKEN``.
        save_artifact: Store the trial's directory as artifacts at its end.
        log_params_on_trial_end: Log the configuration at the trial's end instead of its start.

    Raises:
        MissingPackageError: without the package mlflow (or mlflow-skinny).
    """

    service = "MLflow"

    def __init__(
        self,
        tracking_uri: str | None = None,
        registry_uri: str | None = None,
        experiment_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        tracking_token: str | None = None,
        save_artifact: bool = False,
        log_params_on_trial_end: bool = False,
    ) -> None:
        super().__init__()
        _package("MLflowLoggerCallback")
        self.tracking_uri, self.registry_uri, self.experiment_name = tracking_uri, registry_uri, experiment_name
        self.tags, self._token = dict(tags or {}), tracking_token
        self.save_artifact, self.log_params_on_trial_end = save_artifact, log_params_on_trial_end
        self._client: Any = None
        self._experiment = ""
        self._runs: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        own = {"tracking_uri": without_password(self.tracking_uri), "registry_uri": without_password(self.registry_uri)}
        return {**super().__getstate__(), **own, "_token": None, "_client": None, "_experiment": "", "_runs": {}}

    def _open(self, trial: Trial, name: str) -> int:
        if self._client is None:
            self._client = _client(_with_password(self.tracking_uri), self.registry_uri, self._token)
        if not self._experiment:
            wanted = self.experiment_name or os.environ.get(EXPERIMENT_NAME) or trial.experiment_dir_name
            self._experiment = _experiment(self._client, wanted)
        tag = _tag(Path(trial.local_experiment_path), name)
        run_id = _find(self._client, self._experiment, tag)
        if run_id is None:
            tags = {**{k: str(v) for k, v in self.tags.items()}, "trial_name": str(trial), RUN_TAG: tag}
            began = _milliseconds(trial.value.started_at)
            run_id = self._client.create_run(self._experiment, began, tags, str(trial)).info.run_id
            there = 0
        else:
            there = len(self._client.get_metric_history(run_id, _LAST))
        self._runs[name] = run_id
        return there

    def _config(self, trial: Trial, name: str, config: Mapping[str, Any]) -> None:
        if not self.log_params_on_trial_end:
            self._params(name, config)

    def _params(self, name: str, config: Mapping[str, Any]) -> None:
        """MLflow's parameters never change: those that do (population based training) are tags from then on."""
        from mlflow.entities import Param, RunTag

        run_id = self._runs[name]
        old = self._client.get_run(run_id).data.params
        given = {k: str(v)[:_MAX_PARAM] for k, v in flatten(config).items()}
        new = [Param(k, v) for k, v in given.items() if k not in old]
        changed = [RunTag(f"config/{k}", v) for k, v in given.items() if k in old and old[k] != v]
        for start in range(0, len(new), 100):
            self._client.log_batch(run_id, params=new[start : start + 100])
        if changed:
            self._client.log_batch(run_id, tags=changed)

    def _log(self, trial: Trial, name: str, number: int, row: Mapping[str, Any]) -> None:
        self._log_rows(name, number, [row])

    def _log_rows(self, name: str, first: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Deliver several rows, many of them in each call; ``first``: the number of the first one."""
        made = [_metrics(number, row) for number, row in enumerate(rows, first)]
        together = max(1, _MAX_METRICS // max(map(len, made), default=1))
        for start in range(0, len(made), together):  # whole rows, so that a killed process leaves no part of one
            metrics = [metric for row in made[start : start + together] for metric in row]
            for begin in range(0, len(metrics), _MAX_METRICS):
                self._client.log_batch(self._runs[name], metrics=metrics[begin : begin + _MAX_METRICS])

    def _end(self, trial: Trial, name: str, failed: bool) -> None:
        if self.log_params_on_trial_end:
            self._params(name, trial.value.shown_config)
        if self.save_artifact:
            self._client.log_artifacts(self._runs[name], trial.local_path)
        status, ended = "FAILED" if failed else "FINISHED", _milliseconds(trial.value.ended_at)
        self._client.set_terminated(self._runs[name], status, ended)
        self._runs.pop(name, None)


def _metrics(number: int, row: Mapping[str, Any]) -> list[Any]:
    """What MLflow keeps of a row."""
    from mlflow.entities import Metric

    step = int(as_number(row.get("timesteps_total")) or as_number(row.get(_LAST)) or number)
    when = int((as_number(row.get("timestamp")) or 0.0) * 1000)
    numbers = {k: as_number(v) for k, v in flatten(row).items() if not k.startswith("config/")}
    metrics = [Metric(k, v, when, step) for k, v in numbers.items() if v is not None and k != _LAST]
    return [*metrics, Metric(_LAST, numbers.get(_LAST) or number, when, step)]


def _with_password(uri: str | None) -> str | None:
    """``uri``, or the same one with its password, from the environment."""
    there = os.environ.get(TRACKING_URI)
    return there if there and uri is not None and without_password(there) == uri else uri


def _milliseconds(at: float | None) -> int | None:
    return None if at is None else int(at * 1000)


class MLflowLogger(TrackerOfConfig, MLflowLoggerCallback):
    """Of Ray Tune before 1.4, for ``loggers=[MLflowLogger]``: ``config["logger_config"]`` has ``mlflow_tracking_uri``,
    ``mlflow_registry_uri``, ``mlflow_experiment_id``; or ``config["mlflow"]`` what :func:`mlflow_mixin` takes."""

    settings = ("mlflow", "logger_config")

    def _made(self, config: Mapping[str, Any]) -> TrackerCallback:
        older = config.get("logger_config") or {}
        given = {
            **_settings_in(config),
            **{name: older[f"mlflow_{name}"] for name in _OLDER if f"mlflow_{name}" in older},
        }
        experiment = given.pop("experiment_id", None)
        made = MLflowLoggerCallback(**given)
        made._experiment = "" if experiment is None else str(experiment)
        return made


class _Nothing:
    """What other tasks of a job get instead of ``mlflow``: every call does nothing."""

    def __getattr__(self, name: str) -> Any:
        return _Nothing()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return None


def setup_mlflow(
    config: Mapping[str, Any] | None = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    tracking_token: str | None = None,
    artifact_location: str | None = None,
    run_name: str | None = None,
    create_experiment_if_not_exists: bool = False,
    tags: Mapping[str, Any] | None = None,
    rank_zero_only: bool = True,
) -> Any:
    """Start the MLflow run of this trial and return the module ``mlflow``.

    A trial that goes on after an interruption goes on in the same run, which ends with the function, or with the
    ``cleanup`` of a class. Without ``tracking_uri`` and
    ``MLFLOW_TRACKING_URI`` it lies in ``mlruns`` of the trial's directory. With ``rank_zero_only``, other tasks of the
    job get an object that does nothing.

    Raises:
        MissingPackageError: without the package mlflow (or mlflow-skinny).
        UsageError: if MLflow has no experiment of the name that is stated, and none is to be made. Without a name it
            is the name of this experiment.
    """
    mlflow = _package("setup_mlflow")
    if rank_zero_only and get_context().get_world_rank() != 0:
        return _Nothing()
    directory, trial_id = get_trial_dir(), get_trial_id()
    uri = tracking_uri or os.environ.get(TRACKING_URI)
    own = uri is None and directory is not None
    if own:
        uri = (Path(str(directory)) / "mlruns").as_uri()
    client = _client(uri, registry_uri, tracking_token)
    if uri:
        mlflow.set_tracking_uri(uri)
    if registry_uri:
        mlflow.set_registry_uri(registry_uri)
    stated = experiment_name or os.environ.get(EXPERIMENT_NAME)
    wanted = stated or get_context().get_experiment_name() or "Default"
    found = experiment_id or getattr(client.get_experiment_by_name(wanted), "experiment_id", None)
    if found is None:
        if stated and not (own or create_experiment_if_not_exists):
            raise UsageError(
                f"MLflow has no experiment {wanted!r}. Make it there, or pass create_experiment_if_not_exists=True."
            )
        found = _experiment(client, wanted, artifact_location)
    mlflow.set_experiment(experiment_id=found)
    tag = _tag(Path(str(directory)).parent, trial_id) if directory is not None and trial_id is not None else None
    run_id = _find(client, found, tag) if tag is not None else None
    if mlflow.active_run() is not None:
        mlflow.end_run()
    if trial_id is not None:
        at_trial_end(lambda failed: mlflow.end_run("FAILED" if failed else "FINISHED"))
    if run_id is not None:
        mlflow.start_run(run_id=run_id)
    else:
        all_tags = {**{k: str(v) for k, v in (tags or {}).items()}, **({RUN_TAG: tag} if tag else {})}
        mlflow.start_run(run_name=run_name or get_trial_name(), tags=all_tags)
        if config:
            mlflow.log_params({k: str(v)[:_MAX_PARAM] for k, v in flatten(config).items()})
    return mlflow


def mlflow_mixin(func: Callable[..., Any]) -> Any:
    """Of Ray Tune before 2.0: start the run of a trial with ``config["mlflow"]``: arguments of :func:`setup_mlflow`."""
    mlflow = _package("mlflow_mixin")

    def begin(config: Mapping[str, Any]) -> None:
        setup_mlflow({k: v for k, v in config.items() if k != "mlflow"}, **_settings_in(config))

    return around(func, begin, lambda _: mlflow.end_run())


def _settings_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of MLflow in a configuration. Raises UsageError if they have a token."""
    given = dict(config.get("mlflow") or {})
    if given.pop("token", None) or given.get("tracking_token"):
        raise UsageError("A token in config would be stored with the results. Set MLFLOW_TRACKING_TOKEN instead.")
    return given


def _package(user: str) -> Any:
    return require("mlflow", "mlflow", user)


def _client(tracking_uri: str | None, registry_uri: str | None, token: str | None) -> Any:
    from mlflow.tracking import MlflowClient

    if token:
        os.environ[TOKEN] = token
    uri = tracking_uri or os.environ.get(TRACKING_URI) or ""
    if uri.startswith("file:") or (uri and "://" not in uri):  # the user has chosen files: MLflow asks for a word on it
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # we try again ourselves
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    _make_database(uri or _package("MLflow").get_tracking_uri())
    return MlflowClient(tracking_uri, registry_uri)


def _make_database(uri: str) -> None:
    """Make the file of an SQLite database, if there is none, with all its tables at once.

    MLflow makes them one by one: a process that is killed meanwhile, or two on different nodes, would leave a file that
    MLflow refuses from then on.
    """
    from mlflow.tracking import MlflowClient

    place = uri.removeprefix(_SQLITE)
    path = Path(place)
    if not uri.startswith(_SQLITE) or not place or "?" in place or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        made = Path(folder, path.name)
        MlflowClient(f"{_SQLITE}{made}").search_experiments(max_results=1)
        try:
            os.link(made, path)
        except FileExistsError:  # another process was faster
            pass
        except OSError:  # a filesystem without hard links
            made.rename(path)


def _experiment(client: Any, name: str, location: str | None = None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except Exception:  # another trial was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _tag(experiment: Path, name: str) -> str:
    return f"{experiment.name}/{name}"


def _find(client: Any, experiment: str, tag: str) -> str | None:
    quoted = tag.replace("'", "\\'")
    found = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{quoted}'", max_results=1)
    return str(found[0].info.run_id) if found else None
