"""What a terminal or a notebook shows of an experiment."""
