"""Differences from Ray that are wanted: where, what is observed here, and why."""

from __future__ import annotations

from typing import Any

_EARLY = "what cannot be meant is an error before the first job"
_ONCE = "a result that is reported again after a restart counts once"
_COUNT = "an iteration has a number of its own, which grows with each report"
_ON = "a trial that is restored goes on counting, as the documents of Ray Tune 1.x say"
_FULL = "a file shows all that is known"
_NAMED = "the error says which metrics were reported; with Ray it is None"
_TYPES = "a value that could not be drawn is not valid"

WANTED: dict[str, tuple[Any, str]] = {
    "entry_points.wrong_arguments['concurrent']": ("ValueError", _EARLY),
    "entry_points.wrong_arguments['resume']": ("UsageError", _EARLY),
    "entry_points.report_of_something_else": ("nothing", "report(3) reports the metric _metric, as in 1.x"),
    "entry_points.with_parameters_wrong[0]": ("TrainableError", "as for every unknown trainable"),
    "entry_points.of_the_context[2]": (True, "a trial's working directory is its directory"),
    "entry_points.default_dirnames[1]": ("0_m=2,x=1.235,y=a", "four significant digits: 1.235, and 1.234e-05"),
    "entry_points.tags[0]": (
        "0_flag=True,list=1_2,long=a_very_long_word_that_goes_on_an,none=None,of=3,small=1.234e-05",
        "four significant digits; what sample_from made is shown; long values are cut",
    ),
    "entry_points.tags[1]['of']": (3, "what sample_from made is shown"),
    "results.files['row']['experiment_tag']": ("str", _FULL),
    "results.stated_totals[1]": (9, _COUNT),
    "results.nested_results[4]": ("[1,2]", "lists are JSON in progress.csv"),
    "results.columns_that_come_later[1]": (True, _FULL),
    "results.an_error_leaves_files[1]": (False, "no pickle of an error: the text is in error.txt"),
    "generation_1.loggers_as_classes[1]": (
        [0.0, 2.0, 4.0],
        "a class derived from CSVLogger writes progress.csv in the place of the default logger, not beside it",
    ),
    "spaces.borders['base']": ("SearchSpaceError", _EARLY),
    "spaces.borders['no list']": ("SearchSpaceError", _EARLY),
    "spaces.validity[2]": (False, _TYPES),
    "spaces.validity[5]": (False, _TYPES),
    "spaces.validity[6]": ("(0.0, 1.0)", "bounds of real numbers are real numbers"),
    "spaces.validity[7]": ("([1, 2])", "all domains are shown in parentheses"),
    "spaces.samples[3]": ("int", "Python's integers, which JSON knows"),
    "spaces.circles": ("SearchSpaceError", _EARLY),
    "spaces.a_point_outside_the_grid": ("SearchSpaceError", _EARLY),
    "searchers.two_limits": ("nothing", "both limits hold"),
    "stoppers.function[2]": ("UsageError", _EARLY),
    "checkpoints.starts_again[2]": ([1, 2, 3], _ONCE),
    "checkpoints.a_class_goes_on[1]": ([1, 2, 3, 4, 5], _ONCE),
    "checkpoints.a_class_goes_on[2]": ([1, 2, 3, 4, 5], _ONCE),
    "checkpoints.restore[0]": (5, _ON),
    "checkpoints.restore[2]": (2, _ON),
    "schedulers.population_asks[5]": ("UsageError", _EARLY),
    "classes.by_hand[3]": (3, _ON),
    "classes.by_hand[4]": (3, _ON),
    "classes.by_hand[5]": (3, _ON),
    "classes.incomplete[0]": ("TrainableError", "the error names the class and the method"),
    "classes.incomplete[1]": ("TrainableError", "the error names the class and the method"),
    "analyses.without_a_metric[5]": ("MetricError", _NAMED),
    "analyses.without_a_metric[7]": ("MetricError", _NAMED),
    "hooks.order_of_failures[6][0]": ("on_trial_restore", "a trial that goes on from a checkpoint is restored"),
    "hooks.trials_of_a_hook[2][0]": ("TERMINATED", "a trial that is complete has ended"),
    "resuming.can_restore[2]": ("UsageError", "no experiment at a path is a wrong argument"),
    "resuming.nothing_to_resume": ("ValueError", "as the documents of 1.x say"),
}
