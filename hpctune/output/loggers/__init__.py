"""Files of results: JSON, CSV, TensorBoard, errors."""
