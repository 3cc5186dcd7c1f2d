"""Checks of a site: Slurm, the shared filesystem, a compute node; their meaning, and the settings that follow."""
