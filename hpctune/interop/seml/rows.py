"""All configurations that a SEML file generates, in SEML's order and with its numbers."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from hpctune.errors import UsageError
from hpctune.interop.seml.blocks import Configuration

MAX_ROWS = 100_000


def rows_of(configurations: Sequence[Configuration], seed: int | None = None) -> list[dict[str, Any]]:
    """The configurations, each once: the product of each grid's values with each random sample.

    ``seed``: for random values whose file states no seed. Raises UsageError.
    """
    total = sum(_number(each) for each in configurations)
    if total > MAX_ROWS:
        raise UsageError(
            f"The file has {total} configurations, at most {MAX_ROWS} can be listed. Give --num-samples N."
        )
    draw = _Random(seed)
    rows = [row for each in configurations for row in _rows(each, draw)]
    return list({json.dumps(row, sort_keys=True, default=str): row for row in rows}.values())


def _number(one: Configuration) -> int:
    groups = _zipped(one)
    return math.prod(map(_size, groups)) * (one.samples or 1 if one.random else 1)


def _size(group: Mapping[str, list[Any]]) -> int:
    return len(next(iter(group.values())))


def _rows(one: Configuration, draw: _Random) -> Iterator[dict[str, Any]]:
    groups, samples = _zipped(one), draw.samples(one)
    for chosen in itertools.product(*(range(_size(group)) for group in groups)):
        of_grid = {n: v[index] for group, index in zip(groups, chosen, strict=True) for n, v in group.items()}
        for sample in samples:
            yield {**of_grid, **one.fixed, **sample}


def _zipped(one: Configuration) -> list[dict[str, list[Any]]]:
    """The values of the grid's parameters: of those with the same ``zip_id`` together, of the others alone."""
    groups: dict[Any, dict[str, list[Any]]] = {}
    for name, stated in one.grid.items():
        key = ("zip", stated["zip_id"]) if stated.get("zip_id") is not None else ("alone", name)
        groups.setdefault(key, {})[name] = grid_values(stated)
    for (kind, zip_id), group in groups.items():
        sizes = {name: len(values) for name, values in group.items()}
        if len(set(sizes.values())) > 1:
            counts = ", ".join(f"{name} has {size}" for name, size in sizes.items())
            raise UsageError(f"{one.where}parameters with the {kind}_id {zip_id!r} need equally many values: {counts}.")
    return list(groups.values())


def grid_values(stated: Mapping[str, Any]) -> list[Any]:
    """The values of a parameter under ``grid``."""
    import numpy as np

    kind = stated["type"]
    if kind == "choice":
        return [_plain(value) for value in stated["options"]]
    low, high = stated["min"], stated["max"]
    if kind == "range":
        return [_plain(value) for value in np.arange(low, high, stated["step"])]
    number = int(stated["num"])
    if kind == "uniform":
        return [_plain(value) for value in np.linspace(low, high, number, endpoint=True)]
    return [_plain(value) for value in np.logspace(np.log10(low), np.log10(high), number, endpoint=True)]


class _Random:
    """Random values. As in SEML, each parameter has its own generator. Those with the same seed get the same draws."""

    def __init__(self, seed: int | None) -> None:
        import numpy as np

        self._numbers = np.random.RandomState(seed)
        self._choices = random.Random(seed)

    def samples(self, one: Configuration) -> list[dict[str, Any]]:
        """The random values of each sample; one without values if there are none."""
        if not one.random:
            return [{}]
        if one.samples is None:
            raise UsageError(f"{one.where}random has no samples: how often its parameters are drawn.")
        drawn = {name: self._values(one, name, stated, one.samples) for name, stated in one.random.items()}
        return [{name: values[number] for name, values in drawn.items()} for number in range(one.samples)]

    def _values(self, one: Configuration, name: str, stated: Mapping[str, Any], samples: int) -> list[Any]:
        import numpy as np

        seed = stated.get("seed", one.seed)
        if seed is not None:
            self._numbers.seed(seed)
            self._choices.seed(f"{seed} {name}")
        kind = stated["type"]
        if kind == "choice":
            return [_plain(self._choices.choice(stated["options"])) for _ in range(samples)]
        low, high = stated["min"], stated["max"]
        drawn: Any
        if kind == "uniform":
            drawn = self._numbers.uniform(low, high, samples)
        elif kind == "loguniform":
            drawn = np.exp(self._numbers.uniform(np.log(low), np.log(high), samples))
        elif kind == "randint":
            drawn = self._numbers.randint(int(low), int(high), samples)
        else:
            if int(high) - int(low) < samples:
                raise UsageError(
                    f"{one.where}the parameter {name!r} under random has {int(high) - int(low)} different values, and "
                    f"samples is {samples}."
                )
            drawn = self._numbers.choice(np.arange(int(low), int(high)), samples, replace=False)
        return [_plain(value) for value in drawn]


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)
