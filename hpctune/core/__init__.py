"""The engine's decisions as pure functions of values: evolve, react, plan. No I/O, no clock, no randomness."""
