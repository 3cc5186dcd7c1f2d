"""A neural network on handwritten digits: 24 configurations, at most 20 epochs each; ASHA stops the worse ones early.

    hpctune run configs/quickstart.py

With Slurm every trial is a job; without it trials are processes of this machine.
"""

import itertools
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import hpctune as tune


def train(config):
    """Report the accuracy of every epoch, save every fifth, go on from what was saved; stop= below ends it."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    images, digits = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images / 16, digits, test_size=0.25, random_state=0, stratify=digits
    )
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        model, done = MLPClassifier(**config, random_state=0), 0
    else:
        model, done = pickle.loads(Path(checkpoint.path, "model.pkl").read_bytes())

    for epoch in itertools.count(done + 1):
        model.partial_fit(x_train, y_train, classes=range(10))
        result = {"accuracy": model.score(x_test, y_test), "loss": model.loss_}
        if epoch % 5 != 0:
            tune.report(result)
            continue
        with TemporaryDirectory() as directory:
            Path(directory, "model.pkl").write_bytes(pickle.dumps((model, epoch)))
            tune.report(result, checkpoint=tune.Checkpoint(directory))


tuner = tune.Tuner(
    train,
    param_space={
        "learning_rate_init": tune.loguniform(1e-4, 1e-1),
        "alpha": tune.loguniform(1e-6, 1e-1),
        "hidden_layer_sizes": tune.choice([(16,), (32,), (64,), (32, 32)]),
        "activation": tune.choice(["relu", "tanh"]),
        "batch_size": tune.choice([32, 64, 128]),
    },
    tune_config=tune.TuneConfig(
        metric="accuracy",
        mode="max",
        num_samples=24,
        search_alg=tune.search.BasicVariantGenerator(random_state=1),
        scheduler=tune.schedulers.ASHAScheduler(max_t=20, grace_period=4, reduction_factor=2),
    ),
    run_config=tune.RunConfig(
        stop={"accuracy": 0.99},
        checkpoint_config=tune.CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="accuracy"),
        verbose=1,
    ),
)
