"""``hpctune.experiment.experiment``: the definition of one search."""

from hpctune.launch.definition import Experiment, convert_to_experiment_list

__all__ = ["Experiment", "convert_to_experiment_list"]
