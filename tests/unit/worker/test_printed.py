"""Metrics in what programs usually print."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from hpctune.worker.printed import PrintedMetric


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("val_acc=0.91", {"val_acc": 0.91}),
        ("epoch 3: loss=0.2 val_acc: 91.5%", {"epoch": 3, "loss": 0.2, "val_acc": 91.5}),
        ("Epoch: 3/10 | Val Acc 0.5 | lr=1e-3", {"epoch": 3, "lr": 1e-3, "val_acc": 0.5}),
        ("val-acc is 90", {"val_acc": 90}),
        ("val_acc (top-1): .5", {"val_acc": 0.5}),
        ("'val_acc': 3e-2,", {"val_acc": 3e-2}),
        ("INFO step=4 val_acc -> -1.5", {"step": 4, "val_acc": -1.5}),
        ('{"val_acc": 0.4, "epoch": 2}', {"val_acc": 0.4, "epoch": 2}),
        ('2026-11-28 INFO {"val_acc": 0.4}', {"val_acc": 0.4}),
        ("10%|#  | val_acc=0.1 20%|## | val_acc=0.2", {"val_acc": 0.2}),
        ("best_val_acc=0.9", None),
        ("val_acc improved", None),
        ("val_accuracy=0.9", None),
        ("saving val_acc0.9.pt", None),
        ("", None),
    ],
)
def test_the_usual_forms(line: str, expected: dict[str, Any] | None) -> None:
    assert pickle.loads(pickle.dumps(PrintedMetric("val_acc")))(line) == expected


@pytest.mark.parametrize("line", ["val_acc=nan", "val_acc: inf"])
def test_what_is_not_finite(line: str) -> None:
    found = PrintedMetric("val_acc")(line)
    assert found is not None
    assert found["val_acc"] in (float("inf"),) or found["val_acc"] != found["val_acc"]


def test_names_with_slashes_and_dots() -> None:
    assert PrintedMetric("val/loss")("step 3 val/loss: 0.5") == {"step": 3, "val/loss": 0.5}
    assert PrintedMetric("val.loss")("val.loss=0.5") == {"val.loss": 0.5}


def test_a_pattern_of_ones_own() -> None:
    assert PrintedMetric("loss", r"final: ([0-9.]+)")("final: 0.5") == {"loss": 0.5}
    assert PrintedMetric("loss", r"e(?P<epoch>\d+) l(?P<loss>\S+)")("e3 l0.5") == {"epoch": 3, "loss": 0.5}
    assert PrintedMetric("loss", r"final: ([0-9.]+)")("loss=1") is None
