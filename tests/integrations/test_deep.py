"""Keras and Lightning, with the real packages, where they are installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import hpctune as tune

pytestmark = pytest.mark.nightly


def keras_search(config: dict[str, Any]) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np

    from hpctune.integration.keras import TuneReportCheckpointCallback

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback = TuneReportCheckpointCallback({"l": "loss"}, frequency=2)
    model.fit(np.ones((8, 2)), np.ones(8), epochs=3, verbose=0, callbacks=[callback])


def test_keras(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    trial = tune.run(keras_search, config={}, name="e", local_dir=str(tmp_path), verbose=0).trials[0]
    assert trial.last_result["training_iteration"] == 3
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    model = keras.models.load_model(Path(trial.checkpoint.path) / "checkpoint")
    assert int(model.optimizer.iterations) == 2, "after two epochs of one step"


def keras_with_frequencies(config: dict[str, Any]) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np

    from hpctune.errors import UsageError
    from hpctune.integration.keras import TuneReportCheckpointCallback

    with pytest.raises(UsageError, match="as many numbers"):
        TuneReportCheckpointCallback(frequency=[1, 2], on="epoch_end")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback = TuneReportCheckpointCallback("loss", "model.keras", frequency=[2, 1], on=["epoch_end", "train_end"])
    model.fit(np.ones((8, 2)), np.ones(8), epochs=3, verbose=0, callbacks=[callback])


def test_keras_saves_at_each_event_as_often_as_is_said_for_it(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    trial = tune.run(keras_with_frequencies, config={}, name="e", local_dir=str(tmp_path), verbose=0).trials[0]
    saved = sorted(path.parent.name for path in tmp_path.glob("e/*/checkpoint_*/model.keras"))
    assert saved == ["checkpoint_000002", "checkpoint_000004"], "after two epochs, and at the end"
    assert trial.last_result["training_iteration"] == 4


def own_keras_callback(config: dict[str, Any]) -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np

    from hpctune.integration.keras import TuneReportCallback

    class Rounded(TuneReportCallback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            super().on_epoch_end(epoch, {**logs, "place": epoch})

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 2)), np.ones(8), epochs=2, verbose=0, callbacks=[Rounded({"p": "place"})])


def test_a_keras_callback_that_adds_a_metric(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    trial = tune.run(own_keras_callback, config={}, name="e", local_dir=str(tmp_path), verbose=0).trials[0]
    assert [trial.last_result[name] for name in ("training_iteration", "p")] == [2, 1]


def test_keras_2_is_taken_where_the_script_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("keras")
    from hpctune.integration.keras import _packages

    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    assert _packages() == ("keras", "tensorflow.keras")
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    assert _packages() == ("tf_keras", "keras", "tensorflow.keras")
    monkeypatch.delenv("TF_USE_LEGACY_KERAS")
    monkeypatch.setitem(sys.modules, "tf_keras", sys)
    monkeypatch.delitem(sys.modules, "keras")
    assert _packages()[0] == "tf_keras"
