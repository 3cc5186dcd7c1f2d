"""Loggers that write result files: JSON, CSV, TensorBoard, errors."""
