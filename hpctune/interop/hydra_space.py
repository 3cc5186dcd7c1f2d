"""Hydra's overrides as a search space: choice, range, interval, glob, with sort, shuffle and tag."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpctune.common.checks import is_number
from hpctune.errors import UsageError
from hpctune.space import functions
from hpctune.space.domain import Domain
from hpctune.worker.hydra_job import text_of

MAX_ROWS = 100_000


@dataclass(slots=True)
class HydraSpace:
    """``values``: of each discrete parameter; ``domains``: of each continuous one. ``fixed``: overrides that do not
    vary. ``keys``: the key of each parameter in an override. ``order``: the names of all, as they were given."""

    values: dict[str, list[Any]] = field(default_factory=dict)
    domains: dict[str, Domain] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    order: dict[str, None] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """All combinations, in Hydra's order: the last parameter varies fastest."""
        if self.domains:
            key = self.keys[next(iter(self.domains))]
            raise UsageError(f"{key} is an interval, and a grid cannot try all of its values. Use choice(...).")
        axes = {name: self.values[name] for name in self.order if name in self.values}
        total = math.prod(map(len, axes.values()))
        if total > MAX_ROWS:
            raise UsageError(f"The grid has {total} combinations. Set hydra.sweeper.sampler=random and n_trials.")
        return [dict(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values())]

    def space(self) -> dict[str, Any]:
        """The search space."""
        choices = {n: each[0] if len(each) == 1 else functions.choice(each) for n, each in self.values.items()}
        found = {**choices, **self.domains}
        return {name: found[name] for name in self.order if name in found}


def space_of(params: Mapping[str, Any], arguments: Sequence[str], config_loader: Any) -> HydraSpace:
    """The space of ``hydra.sweeper.params`` and of the command line, which wins. Raises UsageError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=config_loader)
    texts = [f"{key}={value}" for key, value in params.items()]
    found = HydraSpace()
    for override in parser.parse_overrides([*texts, *arguments]):
        _take(override, found)
    return found


def _take(override: Any, found: HydraSpace) -> None:
    key = override.get_key_element()
    name = key.lstrip("+~").replace("/", ".")
    known: dict[str, Any]
    for known in (found.values, found.domains, found.fixed, found.keys):
        known.pop(name, None)
    found.order.setdefault(name)
    if not override.is_sweep_override():
        removes = override.is_delete() and "=" not in str(override.input_line)
        found.fixed[name] = key if removes else f"{key}={override.get_value_element_as_str()}"
        return
    found.keys[name] = key
    if override.is_interval_sweep():
        found.domains[name] = _interval(override.value(), key)
    else:
        found.values[name] = _values(override)


def _values(override: Any) -> list[Any]:
    """The values as Hydra's own sweeper writes them; numbers, truth values and null as such."""
    values = [_value(text) for text in override.sweep_string_iterator()]
    if not values:
        raise UsageError(f"{override.input_line} has no value.")
    return values


def _value(text: str) -> Any:
    """What ``text`` says, if it is written as such a value is; else the text."""
    special = {text_of(value): value for value in (True, False, None)}
    if text in special:
        return special[text]
    for kind in (int, float):
        try:
            value: Any = kind(text)
        except ValueError:
            continue
        if text_of(value) == text:
            return value
    return text


def _interval(value: Any, key: str) -> Domain:
    low, high = value.start, value.end
    if not (is_number(low) and is_number(high) and low < high):
        raise UsageError(f"{key}: interval({low}, {high}) must go from a smaller to a greater number.")
    log = "log" in value.tags
    if log and low <= 0:
        raise UsageError(f"{key}: the interval has the tag log, so its values must be greater than 0, not {low}.")
    if isinstance(low, int) and isinstance(high, int):
        return functions.lograndint(low, high + 1) if log else functions.randint(low, high + 1)
    return functions.loguniform(low, high) if log else functions.uniform(low, high)


def from_search_space(given: Mapping[str, Any]) -> dict[str, str]:
    """``search_space`` of older configurations of Optuna's sweeper as overrides."""
    found = {}
    for key, stated in given.items():
        kind, low, high, step = (stated.get(name) for name in ("type", "low", "high", "step"))
        if kind == "categorical":
            found[key] = f"choice({', '.join(map(str, stated['choices']))})"
        elif kind not in ("int", "float") or low is None or high is None:
            raise UsageError(f"hydra.sweeper.search_space: {key} has no type, low and high: {dict(stated)!r}.")
        elif step is not None:
            found[key] = f"range({low}, {high + step}, step={step})"
        else:
            number = int if kind == "int" else float
            text = f"interval({number(low)}, {number(high)})"
            text = f"int({text})" if kind == "int" else text
            found[key] = f"tag(log, {text})" if stated.get("log") else text
    return found
