"""Searches that a script asks another library for, and that run here: what Optuna's and KerasTuner's have in common."""

from __future__ import annotations

from dataclasses import replace

from hpctune.common.log import log
from hpctune.errors import UsageError
from hpctune.launch.driven import DrivenExperiment
from hpctune.launch.outcome import conclude
from hpctune.launch.overrides import Overrides, current
from hpctune.launch.run import EndOfScript


def overrides_of(call: int, parameters: str, fix: str) -> Overrides:
    """The overrides for search number ``call`` of the script, from 1: further ones have a number in their names.

    Raises UsageError for ``--set``: ``parameters`` says whose they are, ``fix`` how to fix one.
    """
    overrides = current()
    if overrides.config:
        raise UsageError(f"{parameters}, so --set {next(iter(overrides.config))}=... has nothing to replace. {fix}")
    if overrides.name is not None and call > 1:
        return replace(overrides, name=f"{overrides.name}-{call}")
    return overrides


def say_how_many(overrides: Overrides, otherwise: str) -> None:
    """Say that trials run side by side, unless the command line has a limit. ``otherwise``: what the library does."""
    if overrides.max_concurrent is None:
        log.info(
            f"hpctune: as many trials at a time as there is room for; one after another, as {otherwise}: "
            "--max-concurrent 1"
        )


def conclude_call(driven: DrivenExperiment) -> None:
    """End the search, whose failed trials the library judges. Raises EndOfScript if the driver was told to leave: the
    script must not go on then."""
    if driven.left:
        raise EndOfScript("")
    conclude([driven], raise_on_failed_trial=False)
