"""Models of our own searchers: Gaussian process, tree-structured Parzen estimator, kernel densities."""
