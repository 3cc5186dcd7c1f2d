"""Options of Slurm jobs that a script defines at its top level and passes to nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hpctune.cluster.choice import slurm_is_here
from hpctune.cluster.options import SlurmOptions
from hpctune.common.log import log
from hpctune.launch.options import RunOptions

NAME = "slurm"
"""The variable that ``hpctune doctor`` suggests."""


def with_top_level_options(options: RunOptions, cluster: str | None) -> RunOptions:
    """``options``, with the script's ``slurm = SlurmOptions(...)`` if trials run on Slurm and nothing else is given.

    ``cluster``: the command line's. Warns of SlurmOptions with other names, which have no effect.
    """
    chosen = options.cluster if cluster is None else cluster
    if options.slurm is not None or isinstance(options.cluster, SlurmOptions):
        return options
    if chosen != "slurm" and not (chosen in (None, "auto") and slurm_is_here(os.environ)):
        return options
    defined = _defined(vars(sys.modules["__main__"]) if "__main__" in sys.modules else {})
    if NAME in defined:
        log.info(f"Slurm jobs get the options of the script's top-level '{NAME}'.")
        return replace(options, slurm=defined[NAME])
    if defined:
        names = ", ".join(repr(name) for name in defined)
        log.warning(f"The SlurmOptions in {names} have no effect. Pass them: Tuner(slurm={next(iter(defined))}).")
    return options


def _defined(names: Mapping[str, Any]) -> dict[str, SlurmOptions]:
    return {name: value for name, value in list(names.items()) if isinstance(value, SlurmOptions)}
