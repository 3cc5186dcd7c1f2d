"""What of an Optuna trial travels, as values for JSON: in a trial's configuration, and in its last result."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpctune.errors import UsageError
from hpctune.storage import values

if TYPE_CHECKING:
    import optuna

    Distributions = Mapping[str, optuna.distributions.BaseDistribution]

MARK = "hpctune"
"""The system attribute of a trial that says which of our trials it is."""
_NESTED, _TUPLE = "choices", "tuple"
"""Keys in the JSON of choices that are tuples, lists or dicts."""
MAX_CHARS = 900_000
"""Of a record as text: a result may have a little more."""


def params_out(params: Mapping[str, Any], distributions: Distributions) -> dict[str, Any]:
    """Parameters as ``{"x": [internal value, distribution]}``."""
    return {
        name: [float(distributions[name].to_internal_repr(value)), _text_of(distributions[name], name)]
        for name, value in params.items()
    }


def params_in(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and their distributions that :func:`params_out` made ``data`` of."""
    distributions = {name: distribution_of(text) for name, (_, text) in data.items()}
    return {name: distributions[name].to_external_repr(value) for name, (value, _) in data.items()}, distributions


def _text_of(distribution: optuna.distributions.BaseDistribution, name: str) -> str:
    """The distribution as JSON. Choices may be tuples, which JSON does not have. Raises UsageError for objects."""
    from optuna.distributions import CategoricalDistribution, distribution_to_json

    if not isinstance(distribution, CategoricalDistribution) or not any(map(_is_nested, distribution.choices)):
        return distribution_to_json(distribution)
    try:
        return json.dumps({_NESTED: [_tagged(choice) for choice in distribution.choices]})
    except TypeError as error:
        raise UsageError(
            f"A choice of {name!r} cannot be kept in a file: {error}. Let trial.suggest_categorical choose its name, "
            f"as text, and look it up in a dict."
        ) from error


def distribution_of(text: str) -> optuna.distributions.BaseDistribution:
    """The distribution in a record."""
    from optuna.distributions import CategoricalDistribution, json_to_distribution

    data = json.loads(text)
    if _NESTED not in data:
        return json_to_distribution(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about choices that a database could not keep; said in the job
        return CategoricalDistribution([_untagged(choice) for choice in data[_NESTED]])


def _is_nested(choice: Any) -> bool:
    return choice is not None and not isinstance(choice, (bool, int, float, str))


def _tagged(value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple):
        return {_TUPLE: [_tagged(each) for each in value]}
    if isinstance(value, list):
        return [_tagged(each) for each in value]
    return {key: _tagged(each) for key, each in value.items()} if isinstance(value, dict) else value


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TUPLE}:
        return tuple(_untagged(each) for each in value[_TUPLE])
    return {key: _untagged(each) for key, each in value.items()}


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
