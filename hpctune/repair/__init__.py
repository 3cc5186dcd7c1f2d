"""Checking an experiment's directory and repairing it: what a crash or a bad filesystem left. Loses nothing: what is
not good any more is moved into ``quarantine/`` with the reason."""
