"""Comet. Not supported yet."""

from __future__ import annotations

from hpctune.integration import LaterCallback


class CometLoggerCallback(LaterCallback):
    """Not supported yet."""

    package = "comet"
