"""Checks of ``hpctune doctor`` about the shared filesystem."""
