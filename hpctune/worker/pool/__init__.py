"""A worker that stays: a job that takes trial after trial."""
