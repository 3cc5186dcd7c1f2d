"""``PreparedExperiment``: everything that is known of an experiment before it is stored and driven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpctune.cluster.choice import ClusterChoice
from hpctune.core.resume import ResumeChoice
from hpctune.driver.setup import DriverSetup
from hpctune.model.spec import ExperimentSpec
from hpctune.output.display.reporters import ProgressReporter
from hpctune.storage.layout import ExperimentPaths


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedExperiment:
    """An experiment that is ready to be stored and driven. A dry run prints this very object.

    ``paths``: where it is, or will be. ``named``: the user chose the name, so it must not be changed. ``verbose``: 0 to
    3. ``max_pending``: how many jobs may wait in the queue; None: any number. ``handle_signals``: False leaves signals
    to the caller. ``notes``: what the user should know before it starts.

    For an experiment that exists already: ``resume`` says what becomes of its trials, ``num_samples`` is the new number
    of samples if it is not None, and ``replaces_stored`` says that spec, setup and trainable replace what is stored.
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
    resume: ResumeChoice | None = None
    num_samples: int | None = None
    replaces_stored: bool = False
