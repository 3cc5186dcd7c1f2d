"""Three problems to compare searchers on: smooth, of more dimensions, and mixed with conditions. All are minimized."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hpctune import choice, loguniform, quniform, randint, uniform


@dataclass(frozen=True, slots=True)
class Problem:
    """``flat``: the same search without conditions, for searchers that know none; ``loss`` takes configs of both."""

    name: str
    space: dict[str, Any]
    flat: dict[str, Any]
    loss: Callable[[Mapping[str, Any]], float]
    best: float


def branin(config: Mapping[str, Any]) -> float:
    """Branin's function of x (-5 to 10) and y (0 to 15): three equal minima of 0.397887."""
    x, y = config["x"], config["y"]
    valley = y - 5.1 * x * x / (4 * math.pi**2) + 5 * x / math.pi - 6
    return valley**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


HARTMANN_ALPHA = (1.0, 1.2, 3.0, 3.2)
HARTMANN_A = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
HARTMANN_P = (
    (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886),
    (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991),
    (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650),
    (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381),
)


def hartmann6(config: Mapping[str, Any]) -> float:
    """Hartmann's function of six numbers from 0 to 1: minimum -3.32237, and others that are worse."""
    x = [config[f"x{i}"] for i in range(6)]
    total = 0.0
    for alpha, row, centre in zip(HARTMANN_ALPHA, HARTMANN_A, HARTMANN_P, strict=True):
        total += alpha * math.exp(-sum(a * (v - p) ** 2 for a, v, p in zip(row, x, centre, strict=True)))
    return -total


def classifier(config: Mapping[str, Any]) -> float:
    """The made-up error of a model of one of three kinds, each with parameters of its own: minimum 0.05."""
    model = config["model"]
    if isinstance(model, str):
        own = {key.partition("_")[2]: value for key, value in config.items() if key.startswith(f"{model}_")}
        model = {"kind": model, **own}
    match model["kind"]:
        case "svm":
            far = (math.log10(model["C"]) - 1) ** 2 / 9 + (math.log10(model["gamma"]) + 2) ** 2 / 6
            error = 0.05 + 0.4 * (1 - math.exp(-far))
        case "forest":
            error = 0.08 + 0.3 * abs(model["depth"] - 12) / 12 + 0.15 * abs(model["features"] - 0.4)
        case _:
            error = 0.15 + 0.03 * abs(math.log10(model["alpha"]) + 3)
    scaling = {"none": 0.06, "standard": 0.0, "minmax": 0.02}[config["scaling"]]
    return error + scaling + 0.01 * (math.log2(config["batch"]) - 6) ** 2


_SVM = {"C": loguniform(1e-3, 1e3), "gamma": loguniform(1e-5, 10)}
_FOREST = {"depth": randint(1, 25), "features": quniform(0.1, 1.0, 0.1)}
_LINEAR = {"alpha": loguniform(1e-6, 1e2)}
_COMMON = {"scaling": choice(["none", "standard", "minmax"]), "batch": choice([16, 32, 64, 128, 256])}
_BRANIN = {"x": uniform(-5, 10), "y": uniform(0, 15)}
_HARTMANN = {f"x{i}": uniform(0, 1) for i in range(6)}

PROBLEMS = (
    Problem("branin", _BRANIN, _BRANIN, branin, 0.397887),
    Problem("hartmann6", _HARTMANN, _HARTMANN, hartmann6, -3.32237),
    Problem(
        "mixed",
        {
            "model": choice(
                [{"kind": "svm", **_SVM}, {"kind": "forest", **_FOREST}, {"kind": "linear", **_LINEAR}],
            ),
            **_COMMON,
        },
        {
            "model": choice(["svm", "forest", "linear"]),
            **{f"svm_{key}": domain for key, domain in _SVM.items()},
            **{f"forest_{key}": domain for key, domain in _FOREST.items()},
            **{f"linear_{key}": domain for key, domain in _LINEAR.items()},
            **_COMMON,
        },
        classifier,
        0.05,
    ),
)
