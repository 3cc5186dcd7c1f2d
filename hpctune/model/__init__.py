"""Frozen value types. No I/O, no clock, no randomness; nothing here imports another layer."""
