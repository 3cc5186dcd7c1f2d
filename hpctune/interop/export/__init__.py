"""Experiments in the form of other tools: Optuna, MLflow, W&B, TensorBoard, and tables."""
