"""Optuna's ``study.optimize(objective)`` as a search whose trials are jobs.

The driver asks a copy of the study, in memory, for trials and tells it their results. A job fills a copy of its own
from the experiment's journal: so it needs no database, and no driver.
"""
