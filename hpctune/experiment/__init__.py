"""``hpctune.experiment``: the definition of one search, and its trials."""

from hpctune.launch.definition import Experiment, convert_to_experiment_list
from hpctune.trial import Trial

_convert_to_experiment_list = convert_to_experiment_list  # Ray Tune's name

__all__ = ["Experiment", "Trial", "convert_to_experiment_list"]
