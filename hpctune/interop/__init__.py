"""Searches that are defined elsewhere: files without Python, batch scripts, and other tools' definitions."""
