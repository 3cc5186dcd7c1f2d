"""Search spaces: domains, grids, dependencies."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
from lab import raised, run, steps
from ray import tune
from ray.tune.search import BasicVariantGenerator


def configs(place: Path, space: dict[str, Any], num_samples: int = 1, **options: Any) -> list[dict[str, Any]]:
    def nothing(config: dict[str, Any]) -> dict[str, Any]:
        return {"loss": 1}

    found = run(nothing, place, name=f"e{random.random()}", config=space, num_samples=num_samples, **options)
    return [trial.config for trial in found.trials]


def case_ranges(place: Path) -> Any:
    domains = {
        "uniform": tune.uniform(-5, -1),
        "quniform": tune.quniform(3.2, 5.4, 0.2),
        "loguniform": tune.loguniform(1e-4, 1e-2),
        "qloguniform": tune.qloguniform(1e-4, 1e-1, 5e-5),
        "randn": tune.randn(10, 2),
        "qrandn": tune.qrandn(10, 2, 0.2),
        "randint": tune.randint(-9, 15),
        "qrandint": tune.qrandint(-20, 12, 4),
        "lograndint": tune.lograndint(1, 1000),
        "qlograndint": tune.qlograndint(2, 10, 2),
        "choice": tune.choice(["a", "b", "c"]),
    }
    found: dict[str, Any] = {}
    for name, domain in domains.items():
        np.random.seed(1)
        random.seed(1)
        values = [domain.sample() for _ in range(500)]
        found[name] = [type(values[0]).__name__]
        if name not in ("randn", "qrandn", "choice"):
            found[name] += [domain.lower, domain.upper, min(values) >= domain.lower, max(values) <= domain.upper]
        if name in ("randint", "qrandint", "qlograndint", "choice"):
            found[name].append(sorted(set(values)))
        if name.startswith("q"):
            steps_of = [value / domain.sampler.q for value in values]
            found[name].append(max(abs(value - round(value)) for value in steps_of) < 1e-6)
    return found


def case_borders(place: Path) -> Any:
    makers = {
        "one value": lambda: tune.uniform(2, 2).sample(),
        "one whole number": lambda: tune.randint(2, 3).sample(),
        "no whole number": lambda: tune.randint(2, 2).sample(),
        "negative log": lambda: tune.loguniform(-1, 1),
        "zero log": lambda: tune.loguniform(0, 1),
        "zero log of int": lambda: tune.lograndint(0, 10),
        "base": lambda: tune.loguniform(1, 2, base=0),
        "no multiple": lambda: tune.quniform(1, 2, 0.3),
        "nothing to choose": lambda: tune.choice([]).sample(),
        "no list": lambda: tune.grid_search(3),
        "no bounds": lambda: tune.uniform(1),
        "normal and uniform": lambda: tune.search.sample.Float(0, 1).normal().uniform(),
        "sample_from with two": lambda: tune.sample_from(lambda a, b: 1),
        "sample_from with none": lambda: tune.sample_from(lambda: 1).sample(),
    }
    found = {}
    for name, maker in makers.items():
        try:
            value = maker()
            found[name] = value if isinstance(value, int | float) else type(value).__name__
        except Exception as error:
            found[name] = raised(_raise, error)
    return found


def _raise(error: Exception) -> None:
    raise error


def case_validity(place: Path) -> Any:
    return [
        tune.uniform(0, 1).is_valid(0.5),
        tune.uniform(0, 1).is_valid(1.5),
        tune.randint(0, 5).is_valid(5),
        tune.randint(0, 5).is_valid(4),
        tune.choice(["a"]).is_valid("b"),
        tune.quniform(0, 1, 0.25).is_valid(0.3),
        tune.uniform(0, 1).domain_str,
        tune.choice([1, 2]).domain_str,
        tune.randint(1, 4).domain_str,
        len(tune.choice([1, 2, 3])),
        tune.choice([4, 5])[1],
    ]


def case_samples(place: Path) -> Any:
    one, many = tune.uniform(0, 1).sample(), tune.uniform(0, 1).sample(size=3)
    return [
        type(one).__name__,
        len(many),
        len(tune.choice([1, 2]).sample(size=4)),
        type(tune.randint(0, 9).sample(size=2)[0]).__name__,
    ]


def case_order_of_a_grid(place: Path) -> Any:
    space = {"b": tune.grid_search([1, 2]), "a": tune.grid_search([3, 4]), "c": {"d": tune.grid_search([5, 6])}}
    return configs(place, space)


def case_grids_in_lists(place: Path) -> Any:
    return configs(place, {"l": [tune.grid_search([1, 2]), {"x": tune.grid_search([3])}, "w"], "t": (1, 2)})


def case_grid_as_a_dict(place: Path) -> Any:
    return configs(place, {"a": {"grid_search": [1, 2]}})


def case_grid_of_domains(place: Path) -> Any:
    return configs(place, {"a": tune.grid_search([{"x": 1}, {"x": 2}]), "b": tune.choice([[1, 2]])})


def case_choice_of_domains(place: Path) -> Any:
    found = configs(place, {"a": tune.choice([tune.uniform(5, 6)])}, 3)
    return [isinstance(each["a"], float) and 5 <= each["a"] <= 6 for each in found]


def case_choice_of_dicts(place: Path) -> Any:
    return [sorted(each["a"]) for each in configs(place, {"a": tune.choice([{"x": tune.uniform(0, 1), "y": 2}])})]


def case_sample_from(place: Path) -> Any:
    space = {
        "a": tune.grid_search([1, 2]),
        "b": tune.sample_from(lambda spec: spec.config.a * 10),
        "c": tune.sample_from(lambda spec: spec.config["b"] + 1),
        "n": {"d": tune.sample_from(lambda spec: spec.config.c * 2)},
        "e": tune.sample_from(lambda config: 5),
        "f": tune.sample_from(lambda spec: spec.config.n.d),
    }
    return configs(place, space)


def case_sample_from_of_config(place: Path) -> Any:
    return configs(place, {"a": tune.grid_search([1, 2]), "b": tune.sample_from(lambda config: config["a"] * 10)})


def case_circles(place: Path) -> Any:
    space = {
        "a": tune.sample_from(lambda spec: spec.config.b),
        "b": tune.sample_from(lambda spec: spec.config.a),
    }
    return raised(configs, place, space)


def case_a_function_as_a_constant(place: Path) -> Any:
    found = configs(place, {"f": lambda x: x + 1, "c": steps})
    return [callable(found[0]["f"]), found[0]["f"](2), callable(found[0]["c"])]


def case_constants(place: Path) -> Any:
    space = {"none": None, "flag": True, "word": "w", "list": [1, [2]], "tuple": (1, 2), "dict": {"x": {}}}
    config = configs(place, space)[0]
    return [config["none"], config["flag"], config["list"], type(config["tuple"]).__name__, config["dict"]]


def case_seeds(place: Path) -> Any:
    space = {"a": tune.uniform(0, 1), "b": tune.randint(0, 1000), "c": tune.choice(list(range(100)))}
    first, second = (configs(place, space, 4, search_alg=BasicVariantGenerator(random_state=7)) for _ in range(2))
    other = configs(place, space, 4, search_alg=BasicVariantGenerator(random_state=8))
    return [first == second, first == other, len({each["a"] for each in first})]


def case_constant_grid_search(place: Path) -> Any:
    space = {"a": tune.uniform(0, 1), "g": tune.grid_search([1, 2])}
    constant = configs(place, space, 2, search_alg=BasicVariantGenerator(constant_grid_search=True))
    free = configs(place, space, 2)
    same = [first["a"] == second["a"] for first, second in zip(constant[::2], constant[1::2], strict=True)]
    return [same, [each["g"] for each in constant], len({each["a"] for each in free})]


def case_points_to_evaluate(place: Path) -> Any:
    space = {"a": tune.uniform(0, 1), "b": tune.randint(0, 3), "n": {"c": tune.choice([1, 2])}}
    points = [{"a": 0.25, "b": 2, "n": {"c": 1}}, {"a": 0.75, "n": {"c": 2}}]
    found = configs(place, space, 3, search_alg=BasicVariantGenerator(points_to_evaluate=points))
    return [found[0], found[1]["a"], found[1]["b"] in (0, 1, 2), found[1]["n"], len(found)]


def case_points_of_a_grid(place: Path) -> Any:
    space = {"a": tune.uniform(0, 1), "g": tune.grid_search([1, 2])}
    found = configs(place, space, 2, search_alg=BasicVariantGenerator(points_to_evaluate=[{"a": 0.5}, {"g": 2}]))
    return [[each["g"] for each in found], [each["a"] == 0.5 for each in found]]


def case_a_point_outside_the_grid(place: Path) -> Any:
    space = {"g": tune.grid_search([1, 2])}
    return raised(configs, place, space, 1, search_alg=BasicVariantGenerator(points_to_evaluate=[{"g": 9}]))


def case_variants(place: Path) -> Any:
    from ray.tune.search.variant_generator import generate_variants, grid_search

    spec = {"config": {"a": grid_search([1, 2]), "b": {"c": grid_search([3, 4])}}}
    return [[sorted(resolved.values()), variant["config"]] for resolved, variant in generate_variants(spec)]


def case_old_expressions(place: Path) -> Any:
    return configs(place, {"a": {"eval": "2 + 2"}})


def case_domain_methods(place: Path) -> Any:
    from ray.tune.search.sample import Categorical, Float, Integer

    made = {
        "float": tune.uniform(0, 1),
        "int": tune.randint(0, 5),
        "log": tune.loguniform(1, 10),
        "q": tune.quniform(0, 1, 0.5),
        "choice": tune.choice([1]),
    }
    kinds = (Float, Integer, Categorical)
    classes = {name: [kind.__name__ for kind in kinds if isinstance(domain, kind)] for name, domain in made.items()}
    samplers = {name: type(domain.get_sampler()).__name__.strip("_") for name, domain in made.items()}
    return [classes, samplers, made["q"].sampler.q]
