"""Slurm: its commands, what they print, and the jobs' scripts."""
