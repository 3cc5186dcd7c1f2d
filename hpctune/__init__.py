"""hpctune: hyperparameter tuning for Slurm clusters."""
