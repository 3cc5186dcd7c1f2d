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
        ("Epoch: 100%|###| 3/3 [00:01<00:00, val_acc=0.5]", {"val_acc": 0.5}),
        ("10%|#  | val_acc=0.1 20%|## | val_acc=0.2", {"val_acc": 0.2}),
        ("{'val_acc': np.float64(0.5), 'f1': np.float32(0.25)}", {"f1": 0.25, "val_acc": 0.5}),
        ("val_acc=tensor(0.5, device='cuda:0'), lr: 1", {"lr": 1, "val_acc": 0.5}),
        ("\x1b[1mval_acc\x1b[0m: \x1b[32m0.5\x1b[0m", {"val_acc": 0.5}),
        (
            "\x1b[1m10/10\x1b[0m \x1b[32m━━\x1b[0m 0s 5ms/step - loss: 0.5000 - val_acc: 0.25",
            {"loss": 0.5, "val_acc": 0.25},
        ),
        ("        val_acc            0.8936", {"val_acc": 0.8936}),
        ("│         val_acc          │    0.8936   │", {"val_acc": 0.8936}),
        ("| val_acc | 0.5 |", {"val_acc": 0.5}),
        ("Epoch 3/10, Train Acc: 0.1, Val Acc: 0.2", {"epoch": 3, "val_acc": 0.2}),
        ("2026-11-28 - INFO - Train. Acc: 0.1, Val. Acc: 52.00%", {"val_acc": 52.0}),
        ("I1128 01:00:00.000 123 train.py:12] step 100: val_acc = 0.5", {"step": 100, "val_acc": 0.5}),
        ("val_acc = 1,234.5  n=12,345", {"n": 12345, "val_acc": 1234.5}),
        ("val_acc=1, x=2", {"x": 2, "val_acc": 1}),
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
    assert PrintedMetric("Val. Acc")("Val. Acc: 52%") == {"Val. Acc": 52}
    nested = '{"step": 3, "val": {"loss": 0.5}}'
    assert PrintedMetric("val/loss")(nested) == {"step": 3, "val": {"loss": 0.5}}


def test_a_name_in_other_letters_is_not_there_twice() -> None:
    assert PrintedMetric("loss")("Epoch: 1 [0/60000 (0%)]\tLoss: 2.3") == {"epoch": 1, "loss": 2.3}


def test_a_bar_that_is_drawn_again_is_no_new_result() -> None:
    metric = PrintedMetric("loss")
    lines = [f"Epoch {e}: {p}%|##| {p}/100 [00:01<00:02, 9.1it/s, loss=0.{e}]" for e in (1, 2) for p in (50, 99)]
    assert [metric(line) for line in lines] == [
        {"epoch": 1, "loss": 0.1}, None, {"epoch": 2, "loss": 0.2}, None,
    ]  # fmt: skip
    assert [metric("loss=0.5"), metric("loss=0.5")] == [{"loss": 0.5}] * 2


def test_a_pattern_of_ones_own() -> None:
    assert PrintedMetric("loss", r"final: ([0-9.]+)")("final: 0.5") == {"loss": 0.5}
    assert PrintedMetric("loss", r"e(?P<epoch>\d+) l(?P<loss>\S+)")("e3 l0.5") == {"epoch": 3, "loss": 0.5}
    assert PrintedMetric("loss", r"final: ([0-9.]+)")("loss=1") is None
