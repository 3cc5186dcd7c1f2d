"""What of an Optuna trial travels, as values for JSON: in a trial's configuration, and in its last result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpctune.errors import UsageError
from hpctune.storage import values

if TYPE_CHECKING:
    import optuna

    Distributions = Mapping[str, optuna.distributions.BaseDistribution]

MARK = "hpctune"
"""The system attribute of a trial that says which of our trials it is."""
MAX_CHARS = 900_000
"""Of a record as text: a result may have a little more."""


def params_out(params: Mapping[str, Any], distributions: Distributions) -> dict[str, Any]:
    """Parameters as ``{"x": [internal value, distribution]}``."""
    from optuna.distributions import distribution_to_json

    return {
        name: [float(distributions[name].to_internal_repr(value)), distribution_to_json(distributions[name])]
        for name, value in params.items()
    }


def params_in(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and their distributions that :func:`params_out` made ``data`` of."""
    from optuna.distributions import json_to_distribution

    distributions = {name: json_to_distribution(text) for name, (_, text) in data.items()}
    return {name: distributions[name].to_external_repr(value) for name, (value, _) in data.items()}, distributions


def record_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """What a trial that is over tells. Raises UsageError if that is too much for a result."""
    record = {
        "state": trial.state.name,
        "values": trial.values,
        "params": params_out(trial.params, trial.distributions),
        "user_attrs": values.plain(trial.user_attrs),
        "system_attrs": values.plain(trial.system_attrs),
        "intermediate": [[step, value] for step, value in trial.intermediate_values.items()],
    }
    size = len(values.dumps(record))
    if size > MAX_CHARS:
        largest = max(record, key=lambda name: len(values.dumps(record[name])))
        raise UsageError(
            f"The trial has {size / 1e6:.1f} MB of attributes and values, most of it {largest}; the limit is "
            f"{MAX_CHARS / 1e6:.1f} MB. Save large things in a file, and set its path as the attribute."
        )
    return record


def metric_names(directions: int, named: list[str] | None) -> list[str]:
    """The names of a study's values in results: as its user named them, else ``value``, or ``values_0``, ..."""
    if named is not None:
        return list(named)
    return ["value"] if directions == 1 else [f"values_{number}" for number in range(directions)]
