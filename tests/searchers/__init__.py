"""Searchers on libraries and models, by hand and with the real engine in the simulator."""
