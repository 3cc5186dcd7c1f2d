"""Checks of ``hpctune doctor`` that run on a compute node."""
