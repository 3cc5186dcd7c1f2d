"""``hpctune.experiment_analysis``: an experiment's results, read from its directory."""

from hpctune.analysis.experiment_analysis import ExperimentAnalysis

Analysis = ExperimentAnalysis
"""The older name of the class."""

__all__ = ["Analysis", "ExperimentAnalysis"]
