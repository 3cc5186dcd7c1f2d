"""A search over Keras models. Needs keras and one of its backends (KERAS_BACKEND: torch, tensorflow or jax).

KERAS_BACKEND=torch hpctune run configs/keras_search.py
"""

import hpctune as tune


def train(config):
    import keras
    import numpy

    from hpctune.integration.keras import TuneReportCheckpointCallback

    x = numpy.random.default_rng(0).normal(size=(256, 8)).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0).astype("float32")
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(config["units"], "relu"), keras.layers.Dense(1, "sigmoid")]
    )
    model.compile(keras.optimizers.Adam(config["lr"]), "binary_crossentropy")
    callback = TuneReportCheckpointCallback({"loss": "val_loss"}, frequency=2)
    model.fit(x, y, epochs=6, validation_split=0.25, verbose=0, callbacks=[callback])


tuner = tune.Tuner(
    train,
    param_space={"lr": tune.loguniform(1e-4, 1e-1), "units": tune.choice([8, 16, 32])},
    tune_config=tune.TuneConfig(
        metric="loss", mode="min", num_samples=4, scheduler=tune.create_scheduler("asha", max_t=6, grace_period=2)
    ),
    run_config=tune.RunConfig(name="keras"),
)
