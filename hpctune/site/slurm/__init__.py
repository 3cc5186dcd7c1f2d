"""Checks of ``hpctune doctor`` about Slurm."""
