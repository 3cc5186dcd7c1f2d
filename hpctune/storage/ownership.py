"""Which names in an experiment are hpctune's own: they never become part of a checkpoint, and no copy replaces them."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Container

from hpctune.storage.layout import NOTE, RESERVED

PROGRESS_FILE = ".hpctune.json"
"""The file in each checkpoint of a trial that says how far the trial was."""
STAGING_PREFIX = ".checkpoint_staging_"
DOOMED_PREFIX = ".checkpoint_doomed_"
CHECKPOINT = re.compile(r"checkpoint_\d{6,}(-\d+\.\d+)?")
"""The names that ``layout.checkpoint_name`` makes."""
_MARKS = ("experiment.json", "trainable.pkl")
"""A directory that has both is an experiment."""
_UNFINISHED = r"|\..+\.\d+\.tmp"
_IN_EXPERIMENT = re.compile(
    "|".join(map(re.escape, sorted(RESERVED))) + r"|callbacks\.pkl|pbt_policy_.*\.txt|\.create\.lock" + _UNFINISHED
)
_IN_TRIAL = re.compile(
    r"control\.json|run-\d+\.\d+\.jsonl|\.run-.+\.new|\.reports|stdout|stderr|error\.txt|result\.json|params\.json|"
    r"params\.pkl|progress\.csv|events\.out\.tfevents\.\d+\.hpctune"
    rf"|{re.escape(PROGRESS_FILE)}|({re.escape(STAGING_PREFIX)}|{re.escape(DOOMED_PREFIX)})[0-9a-f]+" + _UNFINISHED
)


class Place(enum.Enum):
    """What a directory is to hpctune."""

    EXPERIMENT = "an experiment"
    TRIAL = "the directory of a trial"
    ELSEWHERE = "anything else"


def place_of(directory: str) -> Place:
    """What ``directory`` (a real path) is."""
    if all(os.path.exists(f"{directory}/{mark}") for mark in _MARKS):
        return Place.EXPERIMENT
    parent = os.path.dirname(directory)
    return Place.TRIAL if all(os.path.exists(f"{parent}/{mark}") for mark in _MARKS) else Place.ELSEWHERE


def place_below(parent: Place, names: Container[str]) -> Place:
    """What a directory with ``names`` in it is, whose parent is ``parent``."""
    if all(mark in names for mark in _MARKS):
        return Place.EXPERIMENT
    return Place.TRIAL if parent is Place.EXPERIMENT else Place.ELSEWHERE


def is_own(place: Place, directory: str, name: str) -> bool:
    """Whether hpctune has written ``name`` in ``directory``, which is ``place``.

    A directory of user code whose name is that of a checkpoint is not its own. The output of a trial may have any name:
    it is recognized by the open files of this process.
    """
    if place is Place.EXPERIMENT:
        return _IN_EXPERIMENT.fullmatch(name) is not None
    if place is Place.TRIAL:
        if CHECKPOINT.fullmatch(name):
            return os.path.exists(f"{directory}/{name}/{PROGRESS_FILE}")
        return _IN_TRIAL.fullmatch(name) is not None or _is_output(f"{directory}/{name}")
    return False


def is_name_of_ours(name: str) -> bool:
    """Whether ``name`` in a trial's directory is one that hpctune gives: of a checkpoint, a record, or a log."""
    return any(pattern.fullmatch(name) for pattern in (CHECKPOINT, _IN_TRIAL)) or name == NOTE


def _is_output(path: str) -> bool:
    try:
        seen = os.lstat(path)
        return any(os.path.samestat(seen, os.fstat(fd)) for fd in (1, 2))
    except OSError:
        return False
