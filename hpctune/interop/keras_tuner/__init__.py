"""Scripts that search with KerasTuner: their ``tuner.search(...)`` runs each trial as a job."""
