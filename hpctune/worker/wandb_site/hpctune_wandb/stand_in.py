"""A package ``wandb`` for where it is not installed: configuration and metrics, and nothing is kept."""

from __future__ import annotations

import json
import os
from types import ModuleType
from typing import Any

from hpctune_hearing.reports import heard, heard_summary


class Config(dict[str, Any]):
    """A dict with attributes; what the sweep has chosen wins over what the script sets."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def update(self, *args: Any, allow_val_change: Any = None, **kwargs: Any) -> None:
        """Add values."""
        super().update({**_as_dict(args[0] if args else {}), **kwargs})

    def setdefaults(self, values: Any) -> None:
        """Add values that are not there."""
        for name, value in _as_dict(values).items():
            self.setdefault(name, value)

    def as_dict(self) -> dict[str, Any]:
        """As a plain dict."""
        return dict(self)


class Summary(Config):
    """The last values."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        heard_summary({name: value})

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set values, and report the metric if it is one of them."""
        values = {**_as_dict(args[0] if args else {}), **kwargs}
        dict.update(self, values)
        heard_summary(values)


class Nothing:
    """Whatever else a script calls: takes everything, does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else self  # a decorator

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def __iter__(self) -> Any:
        return iter(())


class Run(Nothing):
    """A run. ``config`` has the values of the trial."""

    def __init__(self, given: Any = None, **kwargs: Any) -> None:
        env = os.environ
        self.config, self.summary = Config({**_as_dict(given or {}), **_parameters()}), Summary()
        self.id, self.sweep_id = env.get("WANDB_RUN_ID", ""), env.get("WANDB_SWEEP_ID")
        self.name = kwargs.get("name") or env.get("WANDB_NAME") or self.id
        self.project = kwargs.get("project") or env.get("WANDB_PROJECT")
        self.entity, self.group = kwargs.get("entity") or env.get("WANDB_ENTITY"), kwargs.get("group")
        self.dir = env.get("WANDB_DIR") or "."
        self.url, self.disabled, self.offline, self.resumed, self.step = None, False, True, False, 0

    def log(self, data: Any, step: Any = None, commit: Any = None, sync: Any = None) -> None:
        """Report the metrics, and keep them as the summary."""
        dict.update(self.summary, _as_dict(data))
        self.step = self.step + 1 if step is None else step
        heard(data, step, commit)


def module() -> ModuleType:
    """The package."""
    made = ModuleType("wandb")
    names = vars(made)
    names.update(run=None, __version__="0.0", Settings=Nothing, Artifact=Nothing, Image=Nothing, Table=Nothing)
    names.update(Histogram=Nothing, Run=Run, config=Config(_parameters()), summary=Summary(), Error=RuntimeError)

    def init(*args: Any, config: Any = None, **kwargs: Any) -> Any:
        if names["run"] is None:
            run = Run(config, **kwargs)
            names.update(run=run, config=run.config, summary=run.summary)
        return names["run"]

    def log(*args: Any, **kwargs: Any) -> None:
        if names["run"] is None:
            raise RuntimeError("You must call wandb.init() before wandb.log()")
        names["run"].log(*args, **kwargs)

    def finish(*args: Any, **kwargs: Any) -> None:
        names["run"] = None

    names.update(init=init, log=log, finish=finish, login=lambda *args, **kwargs: True, setup=Nothing())
    names["__getattr__"] = _unknown
    Run.finish = finish  # type: ignore[attr-defined]
    Run.__exit__ = finish  # type: ignore[method-assign]
    return made


def _unknown(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return Nothing()


def _parameters() -> dict[str, Any]:
    path = os.environ.get("HPCTUNE_CONFIG")
    if not path or not os.path.exists(path):
        return {}
    with open(path) as file:
        found: dict[str, Any] = json.load(file)
    return found


def _as_dict(values: Any) -> dict[str, Any]:
    """Of a dict, or of what argparse gives."""
    return dict(values) if hasattr(values, "keys") else dict(vars(values))
