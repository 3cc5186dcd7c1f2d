"""Long-lived workers, which run one trial after another, on top of any cluster."""
