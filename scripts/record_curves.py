#!/usr/bin/env python3
"""Train every configuration of two grids with scikit-learn and record its learning curve, once.

python scripts/record_curves.py [mlp] [trees]        (both take about ten minutes of one core; nice them)

The tables go to scripts/bench/curves/; the README there says what is in them. Needs scikit-learn.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

HOME = Path(__file__).parent / "bench" / "curves"
EPOCHS = 81
UNIT = 1e-4
"""Losses are kept as multiples of this, in 16 bits."""
DIVERGED = 65535

MLP = {
    "learning_rate": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
    "optimizer": ["adam", "sgd", "momentum"],
    "hidden": [12, 48, 192],
    "batch": [16, 64, 256],
    "alpha": [1e-4, 1e-2, 1e-1, 1.0],
}
TREES = {
    "learning_rate": [0.01, 0.03, 0.1, 0.2, 0.4, 0.8],
    "depth": [1, 2, 3, 4, 6, 8],
    "subsample": [0.2, 0.4, 0.7, 1.0],
    "max_features": [0.2, 0.5, 1.0],
    "min_samples_leaf": [1, 10],
}
TREES_PER_EPOCH = 3


def train_mlp(config: Mapping[str, Any]) -> tuple[list[float], float]:
    """Validation log loss after each epoch on noisy digits, and the seconds of CPU that an epoch takes."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    images, labels = images[order] / 16 + rng.normal(0, 0.35, images.shape), labels[order]
    learn, check = slice(640), slice(640, None)
    adam = config["optimizer"] == "adam"
    model = MLPClassifier(
        (config["hidden"],), solver="adam" if adam else "sgd", learning_rate_init=config["learning_rate"],
        momentum=0.9 if config["optimizer"] == "momentum" else 0.0, batch_size=config["batch"],
        alpha=config["alpha"], random_state=0,
    )  # fmt: skip
    losses, spent, truth = list[float](), 0.0, labels[check]
    for _ in range(EPOCHS):
        began = time.process_time()
        try:
            model.partial_fit(images[learn], labels[learn], classes=range(10))
        except ValueError:  # the weights have become infinite
            break
        spent += time.process_time() - began
        chance = model.predict_proba(images[check])[np.arange(len(truth)), truth]
        losses.append(float(-np.log(np.clip(chance, 1e-7, 1.0)).mean()))
    return losses + [math.nan] * (EPOCHS - len(losses)), spent / max(1, len(losses))


def train_trees(config: Mapping[str, Any]) -> tuple[list[float], float]:
    """Share of the variance left unexplained after every three trees of gradient boosting; seconds for three trees."""
    from sklearn.datasets import make_friedman1
    from sklearn.ensemble import GradientBoostingRegressor

    inputs, targets = make_friedman1(1600, n_features=20, noise=1.0, random_state=0)
    learn, check = slice(600), slice(600, None)
    model = GradientBoostingRegressor(
        learning_rate=config["learning_rate"], max_depth=config["depth"], subsample=config["subsample"],
        max_features=config["max_features"], min_samples_leaf=config["min_samples_leaf"],
        n_estimators=EPOCHS * TREES_PER_EPOCH, random_state=0,
    )  # fmt: skip
    began = time.process_time()
    model.fit(inputs[learn], targets[learn])
    spent = time.process_time() - began
    variance = targets[check].var()
    staged = [((p - targets[check]) ** 2).mean() / variance for p in model.staged_predict(inputs[check])]
    return [float(v) for v in staged[TREES_PER_EPOCH - 1 :: TREES_PER_EPOCH]], spent / EPOCHS


def record(name: str, grid: Mapping[str, list[Any]], train: Callable[..., Any], processes: int) -> None:
    """Train the whole grid and write its table."""
    configs = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    began = time.time()
    with ProcessPoolExecutor(processes) as pool:
        results = list(pool.map(train, configs, chunksize=8))
    losses = np.array([losses for losses, _ in results])
    whole = np.round(losses / UNIT)
    kept = np.where(np.isfinite(whole), np.clip(whole, 0, DIVERGED - 1), DIVERGED).astype(np.uint16)
    seconds = np.array([seconds for _, seconds in results], dtype=np.float32)
    path = HOME / f"{name}.npz"
    np.savez_compressed(path, grid=json.dumps(grid), losses=kept, seconds=seconds)
    size = path.stat().st_size
    print(f"{path}: {len(configs)} configurations in {time.time() - began:.0f} s, {size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", choices=["mlp", "trees", []], help="which; default both")
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    HOME.mkdir(parents=True, exist_ok=True)
    for name, grid, train in (("mlp", MLP, train_mlp), ("trees", TREES, train_trees)):
        if not args.tables or name in args.tables:
            record(name, grid, train, args.processes)


if __name__ == "__main__":
    main()
