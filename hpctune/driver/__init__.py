"""The driver: observes the ports, records facts, performs what is owed. ``loop.drive`` is the only loop."""
