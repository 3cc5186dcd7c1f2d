"""The parameters of a W&B sweep as a search space."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpctune.common.checks import is_number
from hpctune.common.text import nearest
from hpctune.errors import SearchSpaceError, UsageError
from hpctune.space import functions
from hpctune.space.distributions import Beta, LogNormal, weighted_choice
from hpctune.space.numeric import snap

_RANGE, _Q, _NORMAL, _BETA = ("min", "max"), ("q",), ("mu", "sigma"), ("a", "b")
DISTRIBUTIONS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": _RANGE,
    "uniform": _RANGE,
    "q_uniform": _RANGE + _Q,
    "log_uniform": _RANGE,
    "log_uniform_values": _RANGE,
    "q_log_uniform": _RANGE + _Q,
    "q_log_uniform_values": _RANGE + _Q,
    "inv_log_uniform": _RANGE,
    "inv_log_uniform_values": _RANGE,
    "normal": _NORMAL,
    "q_normal": _NORMAL + _Q,
    "log_normal": _NORMAL,
    "q_log_normal": _NORMAL + _Q,
    "beta": _BETA,
    "q_beta": _BETA + _Q,
}
"""The distributions of W&B, with their keys."""
_DEFAULTS = {"q": 1, "mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0}
MAX_ROWS = 100_000


def space_of(parameters: Any) -> dict[str, Any]:
    """The search space, nested as the parameters are. Raises UsageError, which names the parameter."""
    return {name: _domain(name, given) for name, given in _named(parameters)}


def grid_of(parameters: Any, limit: int | None = None) -> list[dict[str, Any]]:
    """The configurations of a grid, in W&B's order: the last parameter by name varies fastest. Each occurs once."""
    axes = sorted(_axes(parameters))
    total = math.prod(len(values) for _, values in axes)
    if min(total, limit or total) > MAX_ROWS:
        raise UsageError(f"The grid has {total} configurations. Give run_cap, at most {MAX_ROWS}, or method: random.")
    found = itertools.product(*(values for _, values in axes))
    return [_nested(axes, chosen) for chosen in itertools.islice(found, limit)]


def grid_space_of(parameters: Any) -> dict[str, Any]:
    """A space that contains the configurations of the grid."""
    axes = sorted(_axes(parameters))
    return _nested(axes, [values[0] if len(values) == 1 else functions.choice(values) for _, values in axes])


def _named(parameters: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    where = f"parameters of {prefix!r}" if prefix else "parameters"
    if not isinstance(parameters, Mapping) or not parameters:
        raise UsageError(f"{where} must be a mapping of names, such as lr: {{min: 0.001, max: 0.1}}.")
    for name, given in parameters.items():
        if not isinstance(name, str) or not name:
            raise UsageError(f"{where}: {name!r} is no name. Write it in quotes.")
        yield name, given


def _domain(name: str, given: Any) -> Any:
    if isinstance(given, Mapping) and "parameters" in given:
        if len(given) > 1:
            other = next(key for key in given if key != "parameters")
            raise UsageError(f"The parameter {name!r} has 'parameters' and {other!r}. Keep one of them.")
        return {inner: _domain(f"{name}.{inner}", each) for inner, each in _named(given["parameters"], name)}
    kind, keys = _read(name, given)
    try:
        return _made(kind, keys)
    except (SearchSpaceError, ValueError, OverflowError) as error:
        raise UsageError(f"The parameter {name!r}: {error}") from error


def _read(name: str, given: Any) -> tuple[str, dict[str, Any]]:
    """The distribution of a parameter, and its keys with their defaults."""
    if not isinstance(given, Mapping):
        hint = f"values: {given!r}" if isinstance(given, list) else f"value: {given!r}"
        raise UsageError(f"The parameter {name!r} must be a mapping: {{{hint}}}; not {given!r}.")
    stated = given.get("distribution")
    if "value" in given and {*given} <= {"value", "distribution"} and DISTRIBUTIONS.get(str(stated), ())[:2] == _RANGE:
        only = given["value"]  # W&B files also say uniform for one number, or for a list of one
        kind, given = "constant", {"value": only[0] if isinstance(only, list) and len(only) == 1 else only}
    elif "values" in given:  # and then
        kind = "categorical_w_probabilities" if "probabilities" in given else "categorical"
    elif stated is not None:
        kind = stated
    elif "value" in given:
        kind = "constant"
    elif "min" in given and "max" in given:
        whole = all(isinstance(given[key], int) and not isinstance(given[key], bool) for key in _RANGE)
        kind = "int_uniform" if whole else "uniform"
    else:
        raise UsageError(
            f"The parameter {name!r} has no values: give value, values, min and max, or distribution; it has "
            f"{', '.join(map(str, given)) or 'nothing'}."
        )
    if kind not in DISTRIBUTIONS:
        raise UsageError(
            f"The parameter {name!r}: there is no distribution {kind!r}. {nearest(str(kind), list(DISTRIBUTIONS))}"
            f"There are: {', '.join(DISTRIBUTIONS)}."
        )
    known = DISTRIBUTIONS[kind]
    keys = {key: given[key] for key in given if key in known}
    unknown = next((key for key in given if key not in known and key != "distribution"), None)
    if unknown is not None and "values" not in given:
        raise UsageError(f"The parameter {name!r}: {kind} has no {unknown!r}. It has: {', '.join(known)}.")
    keys |= {key: _DEFAULTS[key] for key in known if key not in keys and key in _DEFAULTS}
    missing = [key for key in known if key not in keys]
    if missing:
        raise UsageError(f"The parameter {name!r}: {kind} needs {' and '.join(missing)}.")
    wrong = next((key for key in keys if key in (*_RANGE, *_DEFAULTS) and not is_number(keys[key])), None)
    if wrong is not None:
        raise UsageError(f"The parameter {name!r}: {wrong} must be a number, not {keys[wrong]!r}.")
    if "values" in keys and not (isinstance(keys["values"], list) and keys["values"]):
        raise UsageError(f"The parameter {name!r}: values must be a list, not {keys['values']!r}.")
    if "min" in keys and keys["min"] > keys["max"]:
        raise UsageError(f"The parameter {name!r}: min {keys['min']!r} is greater than max {keys['max']!r}.")
    if "q" in keys and not keys["q"] > 0:
        raise UsageError(f"The parameter {name!r}: q must be greater than 0, not {keys['q']!r}.")
    return kind, keys


def _made(kind: str, keys: Mapping[str, Any]) -> Any:
    """The domain, or the value if there is only one."""
    match kind:
        case "constant":
            return keys["value"]
        case "categorical" | "categorical_w_probabilities":
            values = keys["values"]
            if "probabilities" in keys:
                return weighted_choice(values, keys["probabilities"])
            return values[0] if len(values) == 1 else functions.choice(values)
        case "normal" | "q_normal":
            mu, sigma = keys["mu"], keys["sigma"]
            return functions.qrandn(mu, sigma, keys["q"]) if "q" in keys else functions.randn(mu, sigma)
        case "log_normal" | "q_log_normal":
            return functions.sample_from(LogNormal(**keys))
        case "beta" | "q_beta":
            return functions.sample_from(Beta(**keys))
    low, high = keys["min"], keys["max"]
    if kind in ("log_uniform", "q_log_uniform"):  # the bounds are exponents
        low, high = math.exp(low), math.exp(high)
    elif kind == "inv_log_uniform":
        low, high = math.exp(-high), math.exp(-low)
    log = "log" in kind
    if log and low <= 0:
        raise SearchSpaceError(f"the values of {kind} must be greater than 0, and min is {low!r}.")
    if kind == "int_uniform":
        if not (float(low).is_integer() and float(high).is_integer()):
            raise SearchSpaceError(f"min and max of int_uniform must be whole numbers, not {low!r} and {high!r}.")
        return int(low) if low == high else functions.randint(int(low), int(high) + 1)
    if "q" in keys:
        return _rounded(low, high, keys["q"], log)
    if low == high:
        return low
    return functions.loguniform(low, high) if log else functions.uniform(low, high)


def _rounded(low: float, high: float, q: float, log: bool) -> Any:
    """Multiples of ``q``; whole ones if ``q`` is whole. The bounds are rounded to multiples, as W&B's values are."""
    first, last = max(round(low / q), 1 if log else round(low / q)), round(high / q)
    whole = float(q).is_integer()
    if first >= last:
        return first * int(q) if whole else snap(first * q, q)
    if whole:
        step = int(q)
        function = functions.qlograndint if log else functions.qrandint
        return function(first * step, last * step, step)
    return (functions.qloguniform if log else functions.quniform)(snap(first * q, q), snap(last * q, q), q)


def _axes(parameters: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """The values of each parameter, those inside others by their path."""
    for name, given in _named(parameters, ".".join(path)):
        if isinstance(given, Mapping) and "parameters" in given:
            yield from _axes(given["parameters"], (*path, name))
            continue
        full = ".".join((*path, name))
        kind, keys = _read(full, given)
        match kind:
            case "constant":
                values = [keys["value"]]
            case "categorical":
                values = keys["values"]
            case "int_uniform":
                values = list(range(int(keys["min"]), int(keys["max"]) + 1))
            case "q_uniform":
                values = _steps(keys["min"], keys["max"], keys["q"])
            case _:
                raise UsageError(
                    f"The parameter {full!r} is {kind}, which a grid cannot have. Give values, whole min and max, or "
                    f"q_uniform; or method: random."
                )
        yield (*path, name), list({_key(value): value for value in reversed(values)}.values())[::-1]


def _steps(low: float, high: float, q: float) -> list[Any]:
    """From ``low`` in steps of ``q``, without ``high``: W&B's grid."""
    number = max(math.ceil((high - low) / q - 1e-9), 0)
    values = [low + step * q for step in range(number)]
    return [int(value) if float(value).is_integer() else value for value in values] or [low]


def _key(value: Any) -> str:
    """Equal for values that are the same configuration."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _nested(axes: Sequence[tuple[tuple[str, ...], Any]], chosen: Sequence[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for (path, _), value in zip(axes, chosen, strict=True):
        place = made
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value
    return made
