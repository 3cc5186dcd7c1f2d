"""Pool workers: one job that runs many trials, one after the other."""
