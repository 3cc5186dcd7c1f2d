"""Stoppers: when to stop a trial, and when the whole experiment."""

from hpctune.stopper.experiment_plateau import ExperimentPlateauStopper
from hpctune.stopper.function_stopper import FunctionStopper
from hpctune.stopper.maximum_iteration import MaximumIterationStopper
from hpctune.stopper.noop import NoopStopper
from hpctune.stopper.split import Criteria, reached, split_stop
from hpctune.stopper.stopper import CombinedStopper, Stopper
from hpctune.stopper.target import TargetStopper, TrialTargetStopper
from hpctune.stopper.timeout import TimeoutStopper
from hpctune.stopper.trial_plateau import TrialPlateauStopper

__all__ = [
    "CombinedStopper",
    "Criteria",
    "ExperimentPlateauStopper",
    "FunctionStopper",
    "MaximumIterationStopper",
    "NoopStopper",
    "Stopper",
    "TargetStopper",
    "TimeoutStopper",
    "TrialPlateauStopper",
    "TrialTargetStopper",
    "reached",
    "split_stop",
]
