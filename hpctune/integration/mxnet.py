"""MXNet callbacks. Not supported yet."""

from __future__ import annotations

from hpctune.integration import Later

INSTEAD = "Report from a callback of your own: it calls hpctune.report(...)."


class TuneReportCallback(Later):
    """Not supported yet."""

    instead = INSTEAD


class TuneCheckpointCallback(Later):
    """Not supported yet."""

    instead = INSTEAD
