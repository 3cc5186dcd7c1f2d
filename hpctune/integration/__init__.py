"""Integrations with other packages. A module imports its package, or says how to install it."""
