"""How population based training changes configurations: what may be mutated, filling in, and exploring.

Jaderberg et al., "Population Based Training of Neural Networks", 2017 (arXiv 1711.09846): section 4.1.1 and its like
have *perturb* (each value times 1.2 or 0.8) and *resample* (a new value of the original distribution).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any

from hpctune.errors import UsageError
from hpctune.schedulers.metric import positive
from hpctune.space import Domain, flatten_dict, format_vars
from hpctune.space.function import accepts
from hpctune.space.randomness import as_generator, seeded_globals
from hpctune.space.tree import is_grid

Mutations = Mapping[str, Any]
"""What may change, by name: a list of values, a function that draws one, a domain, or a dict of these."""
Operations = dict[str, str]
"""What was done to which value (its flat name), in words."""


def check_mutations(mutations: object, name: str, path: str = "") -> None:
    """Raise UsageError unless every leaf of ``mutations`` is something that a value can be drawn from."""
    if not isinstance(mutations, Mapping):
        raise UsageError(f"{name} must be a dict of what may be mutated, not {mutations!r}.")
    for key, values in mutations.items():
        where = f"{path}{key}"
        if isinstance(values, Mapping) and "grid_search" not in values:
            check_mutations(values, name, f"{where}/")
        elif not _can_draw(values):
            raise UsageError(
                f"{name}[{where!r}] must be a list of values (not empty), a function without arguments that returns "
                f"one, a domain such as tune.uniform(0, 1), or a dict of these, not {values!r}. tune.sample_from and "
                "tune.grid_search cannot be mutated."
            )


def check_drawn(mutations: Mutations, space: Mapping[str, Any], name: str, path: str = "") -> None:
    """Draw a value of every leaf of ``mutations``. Raises UsageError if that fails, or the space has another shape."""
    for key, values in mutations.items():
        where, there = f"{path}{key}", space.get(key)
        nested = isinstance(values, Mapping)
        if key in space and nested != (isinstance(there, Mapping) and not is_grid(there)):
            has, wants = ("a value", "a dict") if nested else ("a dict", "one value")
            raise UsageError(f"{name}[{where!r}] is {wants}, but in the search space {where!r} is {has}.")
        if nested:
            check_drawn(values, there or {}, name, f"{where}/")
            continue
        try:
            draw(values, random.Random(0))
        except Exception as error:
            raise UsageError(f"{name}[{where!r}] gives no value: {type(error).__name__}: {error}.") from error


def check_types(mutations: Mutations, config: Mapping[str, Any], name: str) -> None:
    """Raise UsageError if what replaces a number of ``config`` is never a number, or what replaces a text never one."""
    kinds: dict[str, tuple[type, ...]] = {"a number": (Number,), "text": (str,)}
    for key, value in config.items():
        values = mutations.get(key)
        if isinstance(values, Mapping) and isinstance(value, Mapping):
            check_types(values, value, f"{name}[{key!r}]")
        for kind, types in kinds.items():
            if values is None or isinstance(value, bool) or not isinstance(value, types):
                continue
            drawn = values if isinstance(values, (list, tuple)) else [draw(values, random.Random(0))]
            if not any(isinstance(each, types) for each in drawn):
                raise UsageError(f"{name}[{key!r}] gives {drawn[0]!r}, but trials begin with {kind}: {key}={value!r}.")


def check_factors(factors: object) -> None:
    """Raise UsageError unless these are numbers to multiply with."""
    if not isinstance(factors, (list, tuple)) or not factors:
        raise UsageError(f"perturbation_factors must be numbers to multiply with, such as (1.2, 0.8), not {factors!r}.")
    for factor in factors:
        positive("each of perturbation_factors", factor)


def _can_draw(values: object) -> bool:
    if isinstance(values, Domain):
        return not values.is_function() and not values.is_grid()
    if isinstance(values, (list, tuple)):
        return bool(values)
    return callable(values) and (accepts(values) or accepts(values, None))


def completed(config: Mapping[str, Any], mutations: Mutations, rng: random.Random) -> dict[str, Any]:
    """``config`` with a value drawn for everything in ``mutations`` that it lacks."""
    filled = dict(config)
    for key, values in mutations.items():
        if isinstance(values, Mapping):
            inner = filled.get(key, {})
            filled[key] = completed(inner, values, rng) if isinstance(inner, Mapping) else inner
        elif key not in filled:
            filled[key] = draw(values, rng)
    return filled


def draw(values: Any, rng: random.Random) -> Any:
    """One value of a list, a domain or a function."""
    if isinstance(values, (list, tuple)):
        return rng.choice(values)
    if isinstance(values, Domain):
        return values.sample(random_state=as_generator(rng.getrandbits(63)))
    with seeded_globals(as_generator(rng.getrandbits(63))):
        return values() if accepts(values) else values(None)  # Ray's examples have "lambda _: ..." as well


def explore(
    config: Mapping[str, Any],
    mutations: Mutations,
    rng: random.Random,
    resample_probability: float,
    factors: Sequence[float],
) -> tuple[dict[str, Any], Operations]:
    """A new configuration in the neighbourhood of ``config``, and what was done to which value."""
    new, operations = copy.deepcopy(dict(config)), Operations()
    for key, values in mutations.items():
        if isinstance(values, Mapping):
            inner = new.get(key)
            base = inner if isinstance(inner, Mapping) else {}
            new[key], below = explore(base, values, rng, resample_probability, factors)
            operations.update({f"{key}/{name}": what for name, what in below.items()})
        elif isinstance(values, (list, tuple)):
            new[key], operations[key] = _neighbour(new.get(key), values, rng, resample_probability)
        else:
            new[key], operations[key] = _perturbed(new.get(key), values, rng, resample_probability, factors)
    return new, operations


def _neighbour(old: Any, values: Sequence[Any], rng: random.Random, resample_probability: float) -> tuple[Any, str]:
    """The value before or after ``old`` in the list, or any of them."""
    if rng.random() < resample_probability or old not in values:
        return rng.choice(values), "resample"
    shift = rng.choice((-1, 1))
    at = values.index(old)
    moved = min(max(at + shift, 0), len(values) - 1)
    word = "shift left" if shift < 0 else "shift right"
    return values[moved], word if moved != at else f"{word} (noop)"


def _perturbed(
    old: Any, values: Any, rng: random.Random, resample_probability: float, factors: Sequence[float]
) -> tuple[Any, str]:
    """``old`` times one of the factors, or a new value. What cannot be multiplied is drawn again."""
    if rng.random() < resample_probability or not isinstance(old, (int, float)):
        new, what = draw(values, rng), "resample"
    else:
        factor = rng.choice(factors)
        new, what = old * factor, f"* {factor:g}"
    return like(old, new), what


def like(old: Any, new: Any) -> Any:
    """``new`` as a bool or a whole number if ``old`` is one."""
    if isinstance(old, bool):
        return bool(new)
    if isinstance(old, int) and isinstance(new, (int, float)):
        return round(new)
    return new


def mutated(config: Mapping[str, Any], mutations: Mutations) -> dict[str, Any]:
    """The values of ``config`` that ``mutations`` names, flat."""
    found: dict[str, Any] = {}
    for key, values in mutations.items():
        if isinstance(values, Mapping):
            inner = config.get(key)
            if isinstance(inner, Mapping):
                found.update({f"{key}/{name}": value for name, value in mutated(inner, values).items()})
        elif key in config:
            found[key] = config[key]
    return found


def perturbed_tag(tag: str, config: Mapping[str, Any], mutations: Mutations | None = None) -> str:
    """The experiment tag of a trial that goes on with ``config``; ``mutations`` None: all of it is shown."""
    shown = flatten_dict(config) if mutations is None else mutated(config, mutations)
    return f"{tag}@perturbed[{format_vars(shown)}]"


def customized(explore_fn: Callable[[dict[str, Any]], Any] | None, config: dict[str, Any]) -> dict[str, Any]:
    """What the user's own function makes of ``config``. Raises UsageError if that is no dict."""
    if explore_fn is None:
        return config
    made = explore_fn(config)
    if not isinstance(made, Mapping):
        raise UsageError(f"custom_explore_fn must return the new config, a dict, not {made!r}.")
    return dict(made)
