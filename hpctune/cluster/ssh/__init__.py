"""Trials as processes of several machines that are reached by ssh and have no directory in common with this one."""
