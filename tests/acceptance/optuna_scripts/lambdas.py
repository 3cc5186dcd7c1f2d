"""A lambda over data of the script, choices of several types, a trial that is given, a callback; no main guard."""

import optuna

DATA = list(range(5))


def run(trial, center, data):
    x = trial.suggest_float("x", -10, 10, step=0.5)
    trial.suggest_categorical("y", [None, True, "a", 3])
    return (x - center) ** 2 + len(data)


study = optuna.create_study(study_name="s", sampler=optuna.samplers.RandomSampler(seed=3))
study.enqueue_trial({"x": 0.0, "y": "a"})
study.optimize(lambda t: run(t, 2, DATA), n_trials=3, callbacks=[lambda s, t: print("done", t.number)])
print([(t.params, t.value) for t in study.trials])
