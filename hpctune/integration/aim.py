"""Aim. Not supported yet."""

from __future__ import annotations

from hpctune.integration import LaterCallback


class AimLoggerCallback(LaterCallback):
    """Not supported yet."""

    package = "aim"
