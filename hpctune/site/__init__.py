"""Checking a site: Slurm, the shared filesystem, a compute node; what that means, and which settings follow."""
