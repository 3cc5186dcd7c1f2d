"""What the jobs of an array run: a study in a shared file, and one sampler for each job."""

import os

import optuna


def objective(trial):
    return trial.suggest_float("x", 0, 1) + trial.suggest_int("s", 1, 3)


if __name__ == "__main__":
    storage = "sqlite:///shared.db"
    optuna.create_study(study_name="shared", storage=storage, load_if_exists=True)
    sampler = optuna.samplers.RandomSampler(seed=int(os.environ.get("SLURM_ARRAY_TASK_ID", 0)))
    study = optuna.load_study(study_name="shared", storage=storage, sampler=sampler)
    study.optimize(objective, n_trials=3)
    print([(t.params, t.value) for t in study.trials])
