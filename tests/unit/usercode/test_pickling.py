"""What a script defines, in pickles."""

from __future__ import annotations

import functools
import io
import pickle

import numpy as np
import pytest

from hpctune.usercode import pickling


def _fitted(x: float, *, data: np.ndarray) -> float:
    return x + float(data.sum())


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_travels_as_an_argument_and_as_a_global(order: str) -> None:
    data = np.asarray(np.ones((300, 400)), order=order)  # so large that pickle writes it as a buffer
    pickled = pickling.dump_script(functools.partial(_fitted, data=data), {"data": data})
    unpickler = pickle.Unpickler(io.BytesIO(pickled.body))
    assert unpickler.load()(1.0) == 120001.0
    assert np.array_equal(unpickler.load()["data"], data)


def test_a_global_that_is_too_large_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickling, "MAX_BYTES", 300_000)
    large, small = np.ones((300, 400)), np.ones((30, 400))
    unpickler = pickle.Unpickler(io.BytesIO(pickling.dump_script(1, {"large": large, "small": small}).body))
    assert unpickler.load() == 1
    assert list(unpickler.load()) == ["small"]
