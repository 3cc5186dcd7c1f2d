"""Finds the experiment of a search that a driver has left unfinished, so that the same script goes on with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import joblib

from hpctune.errors import TuneError
from hpctune.launch import store
from hpctune.launch.definition import Experiment
from hpctune.launch.overrides import current
from hpctune.storage.layout import ExperimentPaths

_CHANGING = ("caller", "callback_ctx")
"""Arguments by which scikit-learn tells tasks who asks: they are others in each process."""


def fingerprint_of_calls(calls: Iterable[tuple[Any, tuple[Any, ...], Mapping[str, Any]]], *parts: Any) -> str | None:
    """The fingerprint of calls of functions: triples of a function and its arguments. ``parts``: what else matters."""
    kept = [(f, args, {name: v for name, v in kwargs.items() if name not in _CHANGING}) for f, args, kwargs in calls]
    return fingerprint(kept, *parts)


def fingerprint(*parts: Any) -> str | None:
    """A text that is the same for the same data, estimators and candidates; None if they cannot be compared."""
    try:
        return str(joblib.hash(parts))
    except Exception:  # of pickle, or of an object's own methods
        return None


def unfinished(experiment: Experiment, search: str | None) -> str | None:
    """The name of the experiment that is not over and whose trainable has the fingerprint ``search``, if it is where
    ``experiment`` would be; else None."""
    if search is None or experiment.path is None or current().name is not None:
        return None
    for paths in _named_so(Path(experiment.path)):
        with contextlib.suppress(TuneError, OSError):
            trainable = store.load(paths).trainable
            found = getattr(getattr(trainable, "function", trainable), "search", None)
            if found == search and not store.is_over(paths):
                return paths.root.name
    return None


def _named_so(root: Path) -> Iterator[ExperimentPaths]:
    """The experiments that have this name, or it with a number."""
    for number in count(1):
        paths = ExperimentPaths(root if number == 1 else root.with_name(f"{root.name}_{number}"))
        if not store.exists(paths):
            return
        yield paths
