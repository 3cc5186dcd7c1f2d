"""``PreparedExperiment``: an experiment with all decisions made, before it is stored and driven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpctune.cluster.choice import ClusterChoice
from hpctune.core.resume import ResumeChoice
from hpctune.driver.setup import DriverSetup
from hpctune.model.spec import ExperimentSpec
from hpctune.output.display.reporters import ProgressReporter
from hpctune.storage.kept_project import KeptProject
from hpctune.storage.layout import ExperimentPaths
from hpctune.usercode.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedExperiment:
    """An experiment that is ready to be stored and driven. A dry run prints this object.

    ``paths``: its present or future directory. ``named``: the user chose the name, so it must not be changed.
    ``verbose``: 0 to 3. ``max_pending``: how many jobs may wait in the queue; None: any number. ``handle_signals``:
    False leaves signals to the caller. ``notes``: warnings for the user before the start.

    ``project``: what of the user's files goes with the search to jobs that do not see them.

    For an existing experiment: ``resume`` decides about its trials, ``num_samples`` is the new number of samples (None:
    unchanged), and ``replaces_stored`` tells that spec, setup and trainable replace the stored ones.
    """

    paths: ExperimentPaths
    spec: ExperimentSpec
    setup: DriverSetup
    trainable: Any
    cluster: ClusterChoice
    named: bool = True
    verbose: int
    reporter: ProgressReporter | None = None
    max_pending: int | None = None
    handle_signals: bool = True
    notes: tuple[str, ...] = ()
    project: Project | KeptProject | None = None
    resume: ResumeChoice | None = None
    num_samples: int | None = None
    replaces_stored: bool = False
