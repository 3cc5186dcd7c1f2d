"""The driver: it observes the ports, records events, and performs the actions that are due.

``loop.drive`` is the only loop.
"""
